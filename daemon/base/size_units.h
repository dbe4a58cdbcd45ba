// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace famfs::base {

// "4096", "2m", "8M", "0x200000", "1g": decimal or 0x hexadecimal with an optional k, m, g or t
// suffix in powers of 1024. Throws Error(EINVAL) that names the text for anything else, and
// Error(ERANGE) above 2^64 - 1.
uint64_t parse_size(std::string_view text);

// "10.0M": one decimal, powers of 1024, for people.
std::string human_size(uint64_t bytes);

}  // namespace famfs::base
