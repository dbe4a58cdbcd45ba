// SPDX-License-Identifier: Apache-2.0
#include "cli/mounts.h"

#include <filesystem>
#include <fstream>
#include <sstream>

namespace famfs::cli {
namespace {

bool is_octal(char c) { return c >= '0' && c <= '7'; }

// The kernel writes space, tab, newline and backslash as \ooo.
std::string unescape(std::string_view field) {
  std::string out;
  for (std::size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '\\' && i + 3 < field.size() && is_octal(field[i + 1]) &&
        is_octal(field[i + 2]) && is_octal(field[i + 3])) {
      out.push_back(static_cast<char>((field[i + 1] - '0') * 64 + (field[i + 2] - '0') * 8 +
                                      (field[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(field[i]);
    }
  }
  return out;
}

bool contains(const std::string& directory, const std::string& path) {
  if (!path.starts_with(directory)) return false;
  return directory == "/" || path.size() == directory.size() || path[directory.size()] == '/';
}

}  // namespace

std::vector<Mount> parse_mounts(std::istream& in) {
  std::vector<Mount> mounts;
  std::string line;
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    std::string source;
    std::string target;
    std::string type;
    if (fields >> source >> target >> type) {
      mounts.push_back({unescape(source), unescape(target), type});
    }
  }
  return mounts;
}

std::vector<Mount> famfs_mounts() {
  std::ifstream in("/proc/self/mounts");
  std::vector<Mount> mounts = parse_mounts(in);
  std::erase_if(mounts, [](const Mount& mount) { return mount.type != kMountType; });
  return mounts;
}

std::optional<Mount> mount_of_source(const std::string& source) {
  const std::string wanted = canonical(source);
  for (const Mount& mount : famfs_mounts()) {
    if (mount.source == wanted) return mount;
  }
  return std::nullopt;
}

std::optional<Mount> mount_of_path(const std::string& path) {
  const std::string wanted = canonical(path);
  std::optional<Mount> best;
  for (const Mount& mount : famfs_mounts()) {
    if (contains(mount.target, wanted) && (!best || mount.target.size() >= best->target.size())) {
      best = mount;
    }
  }
  return best;
}

std::optional<Mount> mount_at(const std::string& target) {
  const std::string wanted = canonical(target);
  std::optional<Mount> found;
  for (const Mount& mount : famfs_mounts()) {
    if (mount.target == wanted) found = mount;
  }
  return found;
}

std::string canonical(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path absolute = fs::absolute(path, error).lexically_normal();
  if (!absolute.has_filename() && absolute.has_relative_path()) {
    absolute = absolute.parent_path();  // a trailing slash
  }
  fs::path result = fs::weakly_canonical(absolute, error);
  if (!error) return result.string();
  result = fs::weakly_canonical(absolute.parent_path(), error) / absolute.filename();
  return error ? absolute.string() : result.string();
}

}  // namespace famfs::cli
