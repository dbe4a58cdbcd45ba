// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <istream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace famfs::cli {

// One line of /proc/self/mounts with its octal escapes undone.
struct Mount {
  std::string source;
  std::string target;
  std::string type;
};

// File system type of our mounts as /proc/self/mounts shows it.
inline constexpr std::string_view kMountType = "fuse.famfs";

// Parses the format of /proc/self/mounts, see proc(5) and fstab(5). Lines that do not have the
// three fields are left out.
std::vector<Mount> parse_mounts(std::istream& in);

// The famfs mounts of this process's mount name space, in order of mounting.
std::vector<Mount> famfs_mounts();

// The famfs mount that `source` (a device or a plain file, compared by canonical path) is
// mounted at, or empty.
std::optional<Mount> mount_of_source(const std::string& source);

// The famfs mount whose directory contains `path` (which need not exist), or empty. Works without
// touching the mount, so also when its daemon is gone.
std::optional<Mount> mount_of_path(const std::string& path);

// The famfs mount at exactly `target`, the topmost one, or empty. Does not touch the mount.
std::optional<Mount> mount_at(const std::string& target);

// `path` absolute, without `.`, `..` and symbolic links as far as it exists and can be looked at
// (a mount point whose daemon is gone cannot).
std::string canonical(const std::string& path);

}  // namespace famfs::cli
