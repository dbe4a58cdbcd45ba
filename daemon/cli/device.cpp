// SPDX-License-Identifier: Apache-2.0
#include "cli/device.h"

#include <sys/stat.h>

#include <cerrno>

#include "base/error.h"
#include "cli/mounts.h"

namespace famfs::cli {

std::string device_of(const std::string& path) {
  if (const auto mount = mount_of_path(path)) return mount->source;
  struct stat attributes = {};
  if (stat(path.c_str(), &attributes) != 0) throw base::system_error("cannot open " + path);
  if (S_ISDIR(attributes.st_mode)) {
    throw base::Error(EINVAL,
                      "{} is a directory outside of every famfs mount; give a device, a "
                      "plain file, or a path in a famfs mount",
                      path);
  }
  require_unmounted(path, "read");
  return canonical(path);
}

void require_unmounted(const std::string& device, const std::string& what) {
  if (const auto mount = mount_of_source(device)) {
    throw base::Error(EBUSY,
                      "{} is mounted at {} and cannot be {} by its device; unmount it, or "
                      "give the mount point",
                      device, mount->target, what);
  }
}

}  // namespace famfs::cli
