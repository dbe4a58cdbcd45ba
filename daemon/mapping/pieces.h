// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "media/log_entry.h"

namespace famfs::mapping {

// A run of bytes on a device.
struct Piece {
  std::uint64_t offset = 0;  // from the start of the device
  std::uint64_t length = 0;
  std::uint64_t device = 0;  // index

  friend bool operator==(const Piece&, const Piece&) = default;
};

// Where [offset, offset + length) of a file is, clipped to the file, runs that touch on a
// device joined. At most `most` pieces: the rest of the range is then left out.
std::vector<Piece> pieces(const media::FileMap& map, std::uint64_t size, std::uint64_t offset,
                          std::uint64_t length, std::size_t most);

}  // namespace famfs::mapping
