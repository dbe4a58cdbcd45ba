// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace famfs::cli {

// An unsigned decimal or 0x hexadecimal number without suffix, no larger than `maximum`.
std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t maximum);

// Permission bits in octal, "0644" or "644"; empty above 07777.
std::optional<std::uint32_t> parse_mode(std::string_view text);

}  // namespace famfs::cli
