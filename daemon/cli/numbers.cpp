// SPDX-License-Identifier: Apache-2.0
#include "cli/numbers.h"

#include <charconv>
#include <system_error>

namespace famfs::cli {
namespace {

std::optional<std::uint64_t> parse_digits(std::string_view text, int base) {
  std::uint64_t value = 0;
  const char* begin = text.data();
  const char* end = begin + text.size();
  const auto [stop, error] = std::from_chars(begin, end, value, base);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t maximum) {
  const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
  if (hexadecimal) text.remove_prefix(2);
  const auto value = parse_digits(text, hexadecimal ? 16 : 10);
  if (!value || *value > maximum) return std::nullopt;
  return value;
}

std::optional<std::uint32_t> parse_mode(std::string_view text) {
  constexpr std::uint64_t kPermissionBits = 07777;
  const auto value = parse_digits(text, 8);
  if (!value || *value > kPermissionBits) return std::nullopt;
  return static_cast<std::uint32_t>(*value);
}

}  // namespace famfs::cli
