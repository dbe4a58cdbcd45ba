// SPDX-License-Identifier: Apache-2.0
#include "base/test_pattern.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace famfs::base {
namespace {

uint64_t splitmix64(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

TestPattern::TestPattern(uint32_t seed) noexcept : state_{} {
  uint64_t mix = seed;
  state_[0] = splitmix64(mix);
  state_[1] = splitmix64(mix);
}

uint32_t TestPattern::next_word() noexcept {
  const uint64_t s0 = state_[0];
  uint64_t s1 = state_[1];
  const uint64_t result = s0 + s1;
  s1 ^= s0;
  state_[0] = std::rotl(s0, 55) ^ s1 ^ (s1 << 14);
  state_[1] = std::rotl(s1, 36);
  return static_cast<uint32_t>(result);
}

std::byte TestPattern::next_byte() noexcept {
  if (partial_left_ == 0) {
    partial_ = next_word();
    partial_left_ = sizeof partial_;
  }
  const auto byte = static_cast<std::byte>(partial_);
  partial_ >>= 8;
  --partial_left_;
  return byte;
}

void TestPattern::fill(std::span<std::byte> out) noexcept {
  size_t i = 0;
  while (i < out.size() && partial_left_ != 0) out[i++] = next_byte();
  for (; out.size() - i >= sizeof(uint32_t); i += sizeof(uint32_t)) {
    const uint32_t word = next_word();
    std::memcpy(&out[i], &word, sizeof word);
  }
  while (i < out.size()) out[i++] = next_byte();
}

std::optional<uint64_t> TestPattern::first_difference(std::span<const std::byte> actual) noexcept {
  std::optional<uint64_t> difference;
  std::array<std::byte, 4096> expected;
  for (size_t at = 0; at < actual.size(); at += expected.size()) {
    const auto piece = actual.subspan(at, std::min(expected.size(), actual.size() - at));
    fill(std::span(expected).first(piece.size()));
    if (difference || std::memcmp(expected.data(), piece.data(), piece.size()) == 0) continue;
    size_t i = 0;
    while (expected[i] == piece[i]) ++i;
    difference = at + i;
  }
  return difference;
}

}  // namespace famfs::base
