// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "media/log_entry.h"

namespace famfs::media {

// Receives (field, found, allowed) of each thing wrong.
using Complain = std::function<void(std::string, std::string, std::string)>;

// Checks the map of a file of `size` bytes against the device: number of extents, device index,
// placement, alignment, and that it holds the whole file. Total over all maps.
void check_map(const FileMap& map, uint64_t size, const Superblock& limits,
               const Complain& complain);

}  // namespace famfs::media
