// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kmap/offer.h"

namespace famfs::kmap {

// A run of bytes of a device.
struct Strip {
  std::uint32_t device = 0;  // index
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

// Where the bytes of a file are. chunk_size 0: the strips one after the other. Otherwise byte x is
// byte (x / C / N) * C + x % C of strip (x / C) % N, with C the chunk size and N strips.
struct Map {
  std::uint64_t size = 0;  // of the file
  std::uint64_t chunk_size = 0;
  std::vector<Strip> strips{};
};

// Why a map cannot be said in this protocol; empty if it can.
std::string misfit(Protocol protocol, const Map& map);

// The answer to GET_FMAP. The map must fit.
std::vector<std::byte> encode_fmap(const Map& map);

// The notification that makes the backing object `id` of a map; device i is the backing object
// `first_device` + i. The map must fit.
std::vector<std::byte> encode_backing_map(std::uint64_t id, const Map& map,
                                          std::uint64_t first_device);

}  // namespace famfs::kmap
