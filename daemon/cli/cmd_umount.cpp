// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cerrno>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "cli/commands.h"
#include "cli/daemon_process.h"
#include "cli/mounts.h"
#include "cli/parallel.h"
#include "control/run_directory.h"

namespace famfs::cli {
namespace {

struct Options {
  std::vector<std::string> mount_points;
  bool lazy = false;
  bool verbose = false;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("MPT", options.mount_points, "mount points")->required();
  app.add_flag("-l,--lazy", options.lazy,
               "detach it now even if it is in use; the daemon ends with its last user");
  app.add_flag("-v,--verbose", options.verbose, "name each mount point");
  app.footer(
      "Returns when the daemon has ended and its run directory is gone. Also removes a mount "
      "whose daemon was killed.");
}

std::string mounted_list() {
  std::string list;
  for (const Mount& mount : famfs_mounts()) {
    list += (list.empty() ? "" : ", ") + mount.target;
  }
  return list.empty() ? "none" : list;
}

void umount(const std::string& path, const Options& options) {
  const std::string mount_point = canonical(path);
  const auto mounted = mount_at(mount_point);
  if (!mounted) {
    throw base::Error(EINVAL, "{} is not a famfs mount point; those are: {}", mount_point,
                      mounted_list());
  }
  if (is_stale(mount_point)) {
    unmount(mount_point, true);
    control::RunDirectory::remove_stale(control::RunDirectory::default_root(), mount_point);
    fmt::print("{}: the daemon had died; its mount is removed\n", mount_point);
    return;
  }
  const base::FileDescriptor daemon = daemon_of(mount_point);
  unmount(mount_point, options.lazy);
  if (daemon && !options.lazy) wait_for_end(daemon);
  if (options.verbose) fmt::print("unmounted {} from {}\n", mounted->source, mount_point);
}

int work(const Options& options) {
  return for_each_reported("famfs umount", options.mount_points.size(), 1, [&](std::size_t index) {
    umount(options.mount_points[index], options);
  });
}

}  // namespace

Command umount_command() {
  return make_command<Options>("umount", "unmount a famfs and wait for its daemon to end", declare,
                               work);
}

}  // namespace famfs::cli
