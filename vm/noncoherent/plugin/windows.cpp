// SPDX-License-Identifier: Apache-2.0
#include "plugin/windows.h"

#include <bit>
#include <charconv>
#include <stdexcept>
#include <string>

namespace noncoherent {
namespace {

constexpr uint64_t kHighest = uint64_t{1} << 52;  // physical addresses of x86-64
constexpr uint64_t kSmallestGranularity = 256;
constexpr unsigned kMostDevices = 16;

[[noreturn]] void refuse(std::string_view text, const std::string& problem) {
  throw std::invalid_argument("window '" + std::string(text) + "': " + problem +
                              "; it is BASE:SIZE:GRANULARITY:DEVICE[:DEVICE]...");
}

std::string_view take(std::string_view& rest, char separator) {
  const size_t end = rest.find(separator);
  const std::string_view word = rest.substr(0, end);
  rest = end == rest.npos ? std::string_view{} : rest.substr(end + 1);
  return word;
}

uint64_t number(std::string_view text, std::string_view word) {
  const int radix = word.starts_with("0x") ? 16 : 10;
  const std::string_view digits = word.substr(radix == 16 ? 2 : 0);
  uint64_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, radix);
  if (error != std::errc{} || end != digits.data() + digits.size() || value > kHighest) {
    refuse(text, "'" + std::string(word) + "' is no number up to 2^52");
  }
  return value;
}

Window parse_window(std::string_view text) {
  std::string_view rest = text;
  Window window;
  window.base = number(text, take(rest, ':'));
  window.size = number(text, take(rest, ':'));
  window.granularity = number(text, take(rest, ':'));
  while (!rest.empty()) {
    const uint64_t device = number(text, take(rest, ':'));
    if (device >= kMostDevices) refuse(text, "device " + std::to_string(device) + " is above 15");
    window.devices.push_back(static_cast<unsigned>(device));
  }
  if (!std::has_single_bit(window.devices.size())) {
    refuse(text, std::to_string(window.devices.size()) + " devices are no power of two");
  }
  if (window.devices.size() > 1 &&
      (window.granularity < kSmallestGranularity || !std::has_single_bit(window.granularity))) {
    refuse(text, "the granularity is no power of two from 256 on");
  }
  if (window.size == 0 || window.size % (window.devices.size() * 4096) != 0) {
    refuse(text, "the size is no multiple of a page of each device");
  }
  return window;
}

}  // namespace

Windows Windows::parse(std::string_view text) {
  Windows found;
  for (std::string_view rest = text; !rest.empty();) {
    const Window window = parse_window(take(rest, '+'));
    for (const Window& other : found.windows_) {
      if (window.base < other.base + other.size && other.base < window.base + window.size) {
        refuse(text, "two of them overlap");
      }
    }
    found.windows_.push_back(window);
  }
  if (found.windows_.empty()) refuse(text, "there is none");
  return found;
}

std::optional<Place> Windows::find(uint64_t address) const {
  for (const Window& window : windows_) {
    const uint64_t offset = address - window.base;
    if (address < window.base || offset >= window.size) continue;
    const uint64_t ways = window.devices.size();
    if (ways == 1) return Place{window.devices.front(), offset};
    const uint64_t turn = offset / window.granularity;
    return Place{window.devices[turn % ways],
                 turn / ways * window.granularity + offset % window.granularity};
  }
  return std::nullopt;
}

}  // namespace noncoherent
