// SPDX-License-Identifier: Apache-2.0
// The units in which caches and memory exchange bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace noncoherent {

inline constexpr uint64_t kLineSize = 64;  // what CLWB, CLFLUSH and CLFLUSHOPT act on, on x86-64
inline constexpr uint64_t kPageSize = 4096;
inline constexpr unsigned kLinesPerPage = kPageSize / kLineSize;

using Line = std::array<std::byte, kLineSize>;
using Page = std::array<std::byte, kPageSize>;

// One bit for each byte of a line, or for each line of a page.
using Mask = uint64_t;

inline constexpr Mask kAll = ~Mask{0};

// The bits [first, first + count); count 1..64, first + count at most 64.
constexpr Mask bits(unsigned first, unsigned count) {
  return (count >= 64 ? kAll : (Mask{1} << count) - 1) << first;
}

}  // namespace noncoherent
