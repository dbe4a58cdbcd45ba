// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "media/log_entry.h"

namespace famfs::media {

// Receives (field, found, allowed) of each thing wrong.
using Complain = std::function<void(std::string, std::string, std::string)>;

// Checks the map of a file of `size` bytes against the format and the first device: number of
// extents, device index, placement, alignment, and that it holds the whole file. What lies on other
// devices is held against those by check_devices(). Total over all maps.
void check_map(const FileMap& map, uint64_t size, const Superblock& limits,
               const Complain& complain);

// Checks that a map which check_map() has passed lies on devices that there are and within them;
// sizes[i] is that of device i + 1.
void check_devices(const FileMap& map, std::span<const uint64_t> sizes, const Complain& complain);

}  // namespace famfs::media
