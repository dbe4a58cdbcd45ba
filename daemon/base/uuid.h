// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace famfs::base {

// 16 bytes in textual (RFC 4122) order, as libuuid keeps them.
struct Uuid {
  std::array<std::byte, 16> bytes{};

  bool is_nil() const noexcept { return *this == Uuid{}; }
  // 36 characters, lower case.
  std::string to_string() const;
  // Accepts exactly the 36-character form, either case; anything else is nullopt.
  static std::optional<Uuid> parse(std::string_view text) noexcept;
  // Version 4, from getrandom(2). Throws Error.
  static Uuid random();

  friend auto operator<=>(const Uuid&, const Uuid&) = default;
};

}  // namespace famfs::base
