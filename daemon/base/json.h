// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace famfs::base {

// `text` as a JSON string with its quotes. Bytes that are not UTF-8 pass as they are.
std::string json_string(const std::string& text);

}  // namespace famfs::base
