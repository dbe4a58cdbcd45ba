// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <span>

namespace famfs::base {

// The medium is little-endian and so is every machine this runs on; a port would swap here.
static_assert(std::endian::native == std::endian::little);

// Loads an unsigned integer at `offset`; the caller has checked offset + sizeof(T) <= size.
template <std::unsigned_integral T>
T load(std::span<const std::byte> bytes, size_t offset) noexcept {
  T value;
  std::memcpy(&value, bytes.subspan(offset, sizeof value).data(), sizeof value);
  return value;
}

// Stores an unsigned integer at `offset`; the caller has checked offset + sizeof(T) <= size.
template <std::unsigned_integral T>
void store(std::span<std::byte> bytes, size_t offset, T value) noexcept {
  std::memcpy(bytes.subspan(offset, sizeof value).data(), &value, sizeof value);
}

}  // namespace famfs::base
