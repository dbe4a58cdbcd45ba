// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "media/log_entry.h"

namespace famfs::tree {

// A run of a file that is contiguous on its device.
struct Segment {
  uint64_t device_index = 0;
  uint64_t device_offset = 0;
  uint64_t length = 0;  // bytes, > 0, ends at the chunk's, the extent's or the file's end

  friend bool operator==(const Segment&, const Segment&) = default;
};

// Where byte `offset` of a file of `size` bytes is, and how far it goes on from there. nullopt at
// or after the end of the file, or where the map is too short. Safe for any map and offset.
std::optional<Segment> resolve(const media::FileMap& map, uint64_t size, uint64_t offset) noexcept;

}  // namespace famfs::tree
