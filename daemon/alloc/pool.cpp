// SPDX-License-Identifier: Apache-2.0
#include "alloc/pool.h"

#include <algorithm>
#include <utility>

#include "base/checked.h"
#include "base/error.h"

namespace famfs::alloc {

Pool::Pool(const media::Superblock& superblock)
    : unit_(superblock.alloc_unit), space_(superblock) {}

// The largest runs that together have `length` bytes, in order of offset; empty if 16 do not.
std::vector<media::Extent> Pool::scattered(uint64_t length) const {
  std::vector<media::Extent> extents;
  for (media::Extent run : space_.largest_runs(media::kMaxExtents)) {
    if (length == 0) break;
    run.length = std::min(run.length, length);
    length -= run.length;
    extents.push_back(run);
  }
  if (length > 0) return {};
  std::sort(extents.begin(), extents.end(),
            [](const auto& a, const auto& b) { return a.offset < b.offset; });
  return extents;
}

media::FileMap Pool::allocate(uint64_t size, uint64_t owner) {
  if (size == 0) throw base::Error(EINVAL, "file size is 0; allowed: 1 or more");
  media::FileMap map;
  if (const auto length = base::round_up(size, unit_)) {
    if (const auto run = space_.find(*length)) {
      map.extents.push_back(*run);
    } else {
      map.extents = scattered(*length);
    }
  }
  if (map.extents.empty()) {
    const auto largest = space_.largest_runs(1);
    throw base::Error(ENOSPC,
                      "no room for {} bytes: {} are free, the largest free run has {}, and a file "
                      "has at most {} runs",
                      size, free(), largest.empty() ? 0 : largest.front().length,
                      media::kMaxExtents);
  }
  for (const media::Extent& extent : map.extents) space_.take(extent, owner);
  return map;
}

media::FileMap Pool::allocate(uint64_t size, const Interleave& interleave, uint64_t owner,
                              std::mt19937_64& random) {
  check_interleave(interleave, capacity(), unit_);
  if (size < interleave.chunk_size) return allocate(size, owner);
  const auto row = base::checked_multiply(interleave.chunk_size, interleave.nstrips);
  const auto length =
      row ? base::checked_multiply(base::divide_up(size, *row), interleave.chunk_size)
          : std::nullopt;
  media::FileMap map{interleave.chunk_size, {}};
  if (length) map.extents = space_.find_strips(*length, interleave, random);
  if (map.extents.size() < interleave.nstrips) {
    throw base::Error(
        ENOSPC, "no room for {} bytes in {} strips: {} of {} buckets have a run of {} bytes", size,
        interleave.nstrips, map.extents.size(), interleave.nbuckets, length.value_or(UINT64_MAX));
  }
  // Different buckets do not overlap, so taking at the end takes the same runs.
  for (const media::Extent& strip : map.extents) space_.take(strip, owner);
  return map;
}

std::optional<Collision> Pool::reserve(const media::FileMap& map, uint64_t owner) {
  return space_.reserve(map, owner);
}

void Pool::release(const media::FileMap& map) { space_.release(map); }

}  // namespace famfs::alloc
