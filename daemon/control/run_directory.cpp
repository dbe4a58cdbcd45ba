// SPDX-License-Identifier: Apache-2.0
#include "control/run_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <utility>

#include "base/error.h"
#include "base/file_descriptor.h"

namespace famfs::control {
namespace {

constexpr int kInstancesPerMountPoint = 64;
constexpr std::size_t kNameBytes = 64;

bool make_directory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) == 0) return true;
  if (errno == EEXIST) return false;
  const int error = errno;
  throw base::Error(error, fmt::format("cannot create the run directory {}: {}; set FAMFS_RUN_DIR "
                                       "to a directory that you can write",
                                       path, std::strerror(error)));
}

// The descriptor of the directory with the lock held, or -1 when a live daemon holds it.
int lock_directory(const std::string& path) {
  base::FileDescriptor directory(
      open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) {
    const int error = errno;
    throw base::Error(
        error, fmt::format("cannot open the run directory {}: {}", path, std::strerror(error)));
  }
  // Its last owner may have removed the directory between our open and our lock.
  if (flock(directory.get(), LOCK_EX | LOCK_NB) != 0 || !base::is_named(directory.get(), path)) {
    return -1;
  }
  base::require_private(directory.get(), "the run directory " + path);
  return directory.release();
}

void take_over(int fd) {
  renameat(fd, "famfsd.log", fd, "famfsd.log.1");
  unlinkat(fd, "sock", 0);
}

}  // namespace

std::string RunDirectory::default_root() {
  if (const char* root = std::getenv("FAMFS_RUN_DIR"); root != nullptr && *root != '\0') {
    return root;
  }
  if (geteuid() == 0) return "/run/famfs";
  if (const char* runtime = std::getenv("XDG_RUNTIME_DIR");
      runtime != nullptr && *runtime != '\0') {
    return std::string(runtime) + "/famfs";
  }
  return fmt::format("/tmp/famfs-{}", geteuid());
}

std::string RunDirectory::instance_name(const std::string& mount_point) {
  std::string name;
  for (const char c : mount_point) {
    if (c == '/') {
      if (!name.empty()) name.push_back('-');
    } else {
      name.push_back(c);
    }
  }
  if (name.empty()) name = "root";
  // A long path keeps its end, which tells more, and stays unique by a hash of the whole.
  if (name.size() > kNameBytes) {
    name = fmt::format("{:016x}-{}", std::hash<std::string>{}(mount_point),
                       name.substr(name.size() - (kNameBytes - 17)));
  }
  return name;
}

RunDirectory RunDirectory::create(const std::string& root, const std::string& mount_point) {
  std::error_code error;
  const std::filesystem::path parent = std::filesystem::absolute(root, error).lexically_normal();
  make_directory(parent.string());
  const std::string name = instance_name(mount_point);
  for (int i = 0; i < kInstancesPerMountPoint; ++i) {
    const std::string path = (parent / (i == 0 ? name : fmt::format("{}.{}", name, i))).string();
    make_directory(path);
    const int fd = lock_directory(path);
    if (fd < 0) continue;
    take_over(fd);
    return RunDirectory(path, fd, true);
  }
  throw base::Error(EBUSY, fmt::format("{} daemons already run for {} under {}; unmount some",
                                       kInstancesPerMountPoint, mount_point, parent.string()));
}

void RunDirectory::remove_stale(const std::string& root, const std::string& mount_point) {
  const std::string path = root + "/" + instance_name(mount_point);
  if (access(path.c_str(), F_OK) != 0) return;
  const int fd = lock_directory(path);
  if (fd >= 0) RunDirectory(path, fd, true);  // its destructor removes it
}

RunDirectory RunDirectory::at(const std::string& path) {
  std::error_code error;
  const std::string absolute = std::filesystem::absolute(path, error).lexically_normal().string();
  const bool made = make_directory(absolute);
  const int fd = lock_directory(absolute);
  if (fd < 0) {
    throw base::Error(EBUSY, fmt::format("another daemon uses the directory {}; give another or "
                                         "unmount that one",
                                         absolute));
  }
  take_over(fd);
  return RunDirectory(absolute, fd, made);
}

RunDirectory::RunDirectory(std::string path, int fd, bool made)
    : path_(std::move(path)), fd_(fd), made_(made) {}

RunDirectory::RunDirectory(RunDirectory&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), made_(other.made_) {}

RunDirectory::~RunDirectory() {
  if (fd_ < 0) return;
  unlinkat(fd_, "sock", 0);
  unlinkat(fd_, "famfsd.log", 0);
  unlinkat(fd_, "famfsd.log.1", 0);
  if (made_) rmdir(path_.c_str());
  close(fd_);  // last: until here the lock keeps others out
}

}  // namespace famfs::control
