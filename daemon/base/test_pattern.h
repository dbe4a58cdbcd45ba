// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace famfs::base {

// The byte stream that `famfs creat --randomize` writes and `famfs verify` expects: xoroshiro128+
// (2016 constants 55, 14, 36), its state two splitmix64 outputs of the 32-bit seed, of which the
// low 32 bits of successive outputs are laid down little-endian. Continuous over calls of any
// length. Copy it to restart from the same place. Not thread-safe.
class TestPattern {
 public:
  explicit TestPattern(uint32_t seed) noexcept;

  // Writes the next out.size() bytes of the stream.
  void fill(std::span<std::byte> out) noexcept;

  // Consumes actual.size() bytes of the stream; position of the first byte that differs, relative
  // to `actual`, or nullopt if all agree.
  std::optional<uint64_t> first_difference(std::span<const std::byte> actual) noexcept;

 private:
  uint32_t next_word() noexcept;
  std::byte next_byte() noexcept;

  std::array<uint64_t, 2> state_;
  uint32_t partial_ = 0;  // word of which partial_left_ bytes are still to be given out
  unsigned partial_left_ = 0;
};

}  // namespace famfs::base
