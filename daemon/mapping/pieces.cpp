// SPDX-License-Identifier: Apache-2.0
#include "mapping/pieces.h"

#include <algorithm>

#include "tree/fmap.h"

namespace famfs::mapping {

std::vector<Piece> pieces(const media::FileMap& map, std::uint64_t size, std::uint64_t offset,
                          std::uint64_t length, std::size_t most) {
  std::vector<Piece> found;
  while (length > 0) {
    const auto segment = tree::resolve(map, size, offset);
    if (!segment) break;
    const std::uint64_t step = std::min(length, segment->length);
    if (!found.empty() && found.back().device == segment->device_index &&
        found.back().offset + found.back().length == segment->device_offset) {
      found.back().length += step;
    } else if (found.size() == most) {
      break;
    } else {
      found.push_back({segment->device_offset, step, segment->device_index});
    }
    offset += step;
    length -= step;
  }
  return found;
}

}  // namespace famfs::mapping
