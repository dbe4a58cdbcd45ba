// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace mapbench {

// What was measured: named numbers, printed as a JSON object.
using Result = std::map<std::string, std::uint64_t>;

}  // namespace mapbench
