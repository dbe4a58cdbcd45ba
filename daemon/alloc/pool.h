// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "alloc/space.h"
#include "media/log_entry.h"
#include "media/superblock.h"

namespace famfs::alloc {

// The file space of a file system: places files. Not thread-safe.
class Pool {
 public:
  explicit Pool(const media::Superblock& superblock);

  // Room for `size` bytes (> 0): one run if there is one, else the largest free runs, at most 16.
  // Throws base::Error: EINVAL for size 0, ENOSPC with what is free. Nothing is kept on error.
  media::FileMap allocate(uint64_t size, uint64_t owner);

  // Strips for `size` bytes, each in a bucket of its own. A file smaller than one chunk is placed
  // as without. Throws base::Error: EINVAL for parameters out of range (naming which), ENOSPC if
  // fewer than nstrips buckets have room. Nothing is kept on error.
  media::FileMap allocate(uint64_t size, const Interleave& interleave, uint64_t owner,
                          std::mt19937_64& random);

  // As Space::reserve() and Space::release().
  std::optional<Collision> reserve(const media::FileMap& map, uint64_t owner);
  void release(const media::FileMap& map);

  uint64_t capacity() const noexcept { return space_.capacity(); }
  uint64_t used() const noexcept { return space_.used(); }
  uint64_t free() const noexcept { return space_.free(); }
  uint64_t used_within(uint64_t offset, uint64_t length) const {
    return space_.used_within(offset, length);
  }
  std::vector<uint64_t> owners_within(uint64_t offset, uint64_t length) const {
    return space_.owners_within(offset, length);
  }

 private:
  std::vector<media::Extent> scattered(uint64_t length) const;

  uint64_t unit_;
  Space space_;
};

}  // namespace famfs::alloc
