// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace famfs::media {

// A path in the log is relative to the mount point: 1..79 bytes, components separated by single
// '/', none empty, "." or "..", no NUL. Returns what is wrong with it ("absolute", "component
// '..'", …), nullopt if nothing.
std::optional<std::string> path_problem(std::string_view path);

// Bytes as they can be shown in a message: unprintable ones as \xNN.
std::string printable(std::string_view text);

}  // namespace famfs::media
