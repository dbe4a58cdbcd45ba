// SPDX-License-Identifier: Apache-2.0
#include "media/path.h"

#include <fmt/format.h>

#include <iterator>

#include "media/layout.h"

namespace famfs::media {

std::optional<std::string> path_problem(std::string_view path) {
  if (path.empty()) return "empty";
  if (path.size() > kMaxPath) return fmt::format("{} bytes long", path.size());
  if (path.find('\0') != std::string_view::npos) return "with a NUL inside";
  if (path.front() == '/') return "absolute";
  size_t begin = 0;
  for (;;) {
    const size_t slash = path.find('/', begin);
    const std::string_view component = path.substr(begin, slash - begin);
    if (component.empty()) return "with an empty component";
    if (component == "." || component == "..")
      return fmt::format("with a component '{}'", component);
    if (slash == std::string_view::npos) return std::nullopt;
    begin = slash + 1;
  }
}

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c >= 0x20 && c < 0x7f) {
      out += c;
    } else {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace famfs::media
