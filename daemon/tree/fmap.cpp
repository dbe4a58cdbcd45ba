// SPDX-License-Identifier: Apache-2.0
#include "tree/fmap.h"

#include <algorithm>

#include "base/checked.h"

namespace famfs::tree {
namespace {

// `length` bytes at `within` of an extent, cut to what the extent and the address space have.
std::optional<Segment> segment_of(const media::Extent& extent, uint64_t within,
                                  uint64_t length) noexcept {
  const auto start = base::checked_add(extent.offset, within);
  if (within >= extent.length || !start) return std::nullopt;
  return Segment{extent.device_index, *start, std::min(length, extent.length - within)};
}

}  // namespace

std::optional<Segment> resolve(const media::FileMap& map, uint64_t size, uint64_t offset) noexcept {
  if (offset >= size || map.extents.empty()) return std::nullopt;
  const uint64_t rest = size - offset;
  if (map.interleaved()) {
    const uint64_t chunk = offset / map.chunk_size;
    const uint64_t in_chunk = offset % map.chunk_size;
    const uint64_t strips = map.extents.size();
    // row * chunk_size <= offset, so neither product nor sum wraps.
    const uint64_t within = chunk / strips * map.chunk_size + in_chunk;
    return segment_of(map.extents[chunk % strips], within,
                      std::min(rest, map.chunk_size - in_chunk));
  }
  for (const media::Extent& extent : map.extents) {
    if (offset < extent.length) return segment_of(extent, offset, rest);
    offset -= extent.length;
  }
  return std::nullopt;
}

}  // namespace famfs::tree
