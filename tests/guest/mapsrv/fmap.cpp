// SPDX-License-Identifier: Apache-2.0
#include "mapsrv/fmap.h"

#include <cstring>

namespace mapsrv {

Fmap::Fmap(std::uint64_t file_size, std::uint32_t extent_type, std::uint32_t extents) {
  header.fmap_version = 1;
  header.ext_type = extent_type;
  header.nextents = extents;
  header.file_size = file_size;
}

Fmap& Fmap::simple(std::uint32_t device, std::uint64_t offset, std::uint64_t length) {
  const abi::SimpleExtent extent{device, 0, offset, length};
  append(&extent, sizeof(extent));
  return *this;
}

Fmap& Fmap::interleaved(std::uint32_t strips, std::uint32_t chunk, std::uint64_t bytes) {
  const abi::InterleavedExtent extent{strips, chunk, bytes, 0};
  append(&extent, sizeof(extent));
  return *this;
}

std::vector<std::byte> Fmap::bytes() const {
  std::vector<std::byte> all(sizeof(header) + extents_.size());
  std::memcpy(all.data(), &header, sizeof(header));
  std::memcpy(all.data() + sizeof(header), extents_.data(), extents_.size());
  return all;
}

void Fmap::append(const void* data, std::size_t size) {
  const auto* bytes = static_cast<const std::byte*>(data);
  extents_.insert(extents_.end(), bytes, bytes + size);
}

}  // namespace mapsrv
