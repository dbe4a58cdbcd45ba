// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

namespace famfs::base {

// Arithmetic on numbers from the medium or the command line: nullopt instead of wrapping.
constexpr std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) noexcept {
  uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

constexpr std::optional<uint64_t> checked_multiply(uint64_t a, uint64_t b) noexcept {
  uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// a / b rounded up; b must not be 0. Cannot overflow.
constexpr uint64_t divide_up(uint64_t a, uint64_t b) noexcept { return a / b + (a % b != 0); }

// Next multiple of `unit` (not 0) at or above `value`.
constexpr std::optional<uint64_t> round_up(uint64_t value, uint64_t unit) noexcept {
  return checked_multiply(divide_up(value, unit), unit);
}

constexpr uint64_t round_down(uint64_t value, uint64_t unit) noexcept {
  return value - value % unit;
}

// Whether [offset, offset + length) lies inside [0, size).
constexpr bool range_within(uint64_t offset, uint64_t length, uint64_t size) noexcept {
  return offset <= size && length <= size - offset;
}

}  // namespace famfs::base
