// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "memory/open.h"
#include "volume/devices.h"

namespace famfs::cli {

// Paths that may be further devices of the file system on `first`: those of `given` (of a directory
// in it what is in there), and every dax device of this machine if `first` is one. Without `first`
// itself, each once.
std::vector<std::string> device_candidates(const std::string& first,
                                           const std::vector<std::string>& given);

// The same as a source; memory is opened with `access`. What is opened for writing is claimed by
// its lock (device.h). Relative paths are those of now.
volume::DeviceSource device_source(std::string first, std::vector<std::string> given,
                                   memory::Access access, memory::Backend backend);

inline constexpr const char* kDaxdevHelp =
    "where to look for further devices of the file system: a device, a plain file, or a directory "
    "of such (repeat; dax devices of this machine are found without)";

}  // namespace famfs::cli
