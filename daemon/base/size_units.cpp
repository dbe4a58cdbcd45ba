// SPDX-License-Identifier: Apache-2.0
#include "base/size_units.h"

#include <charconv>

#include "base/checked.h"
#include "base/error.h"

namespace famfs::base {
namespace {

// Power of 1024 of a suffix letter, 0 for another character.
unsigned suffix_power(char c) {
  switch (c) {
    case 'k':
    case 'K':
      return 1;
    case 'm':
    case 'M':
      return 2;
    case 'g':
    case 'G':
      return 3;
    case 't':
    case 'T':
      return 4;
    default:
      return 0;
  }
}

}  // namespace

uint64_t parse_size(std::string_view text) {
  std::string_view digits = text;
  const unsigned power = digits.empty() ? 0 : suffix_power(digits.back());
  if (power > 0) digits.remove_suffix(1);
  int radix = 10;
  if (digits.starts_with("0x") || digits.starts_with("0X")) {
    radix = 16;
    digits.remove_prefix(2);
  }
  uint64_t value = 0;
  const char* const begin = digits.data();
  const char* const end = begin + digits.size();
  const auto [stop, status] = std::from_chars(begin, end, value, radix);
  if (status == std::errc::result_out_of_range) {
    throw Error(ERANGE, "size '{}' does not fit in 64 bits", text);
  }
  if (status != std::errc{} || stop != end) {
    throw Error(
        EINVAL,
        "'{}' is not a size; allowed: a number of bytes, optionally followed by k, m, g or t",
        text);
  }
  const auto bytes = checked_multiply(value, uint64_t{1} << (10 * power));
  if (!bytes) throw Error(ERANGE, "size '{}' does not fit in 64 bits", text);
  return *bytes;
}

std::string human_size(uint64_t bytes) {
  static constexpr char kSuffixes[] = "BKMGTPE";
  int power = 0;
  auto value = static_cast<double>(bytes);
  while (value >= 1024 && kSuffixes[power + 1] != '\0') {
    value /= 1024;
    ++power;
  }
  return power == 0 ? fmt::format("{}B", bytes) : fmt::format("{:.1f}{}", value, kSuffixes[power]);
}

}  // namespace famfs::base
