// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mapsrv/abi.h"

namespace mapsrv {

// A run of bytes of a device.
struct Range {
  unsigned device = 0;  // index
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

// The bytes of an answer to GET_FMAP, right or wrong.
class Fmap {
 public:
  Fmap(std::uint64_t file_size, std::uint32_t extent_type, std::uint32_t extents);

  Fmap& simple(std::uint32_t device, std::uint64_t offset, std::uint64_t length);
  // Its strips follow by simple().
  Fmap& interleaved(std::uint32_t strips, std::uint32_t chunk, std::uint64_t bytes);

  abi::FmapHeader header{};
  // All of it, with the header as it is now.
  std::vector<std::byte> bytes() const;

 private:
  void append(const void* data, std::size_t size);

  std::vector<std::byte> extents_;
};

}  // namespace mapsrv
