// SPDX-License-Identifier: Apache-2.0
#include "base/file_descriptor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"

namespace famfs::base {

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

void FileDescriptor::reset() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

FileDescriptor open_file(const std::string& path, int flags, mode_t mode) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) throw system_error("cannot open " + path);
  return FileDescriptor(fd);
}

void write_all(int fd, const std::string& what, std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t written = ::write(fd, data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw system_error("cannot write " + what);
    data = data.subspan(static_cast<size_t>(written));
  }
}

bool is_named(int fd, const std::string& path) noexcept {
  struct stat held{};
  struct stat named{};
  return ::fstat(fd, &held) == 0 && ::stat(path.c_str(), &named) == 0 &&
         held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

void require_private(int fd, const std::string& what) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) throw system_error("cannot look at " + what);
  if (status.st_uid == ::geteuid() && (status.st_mode & 0077) == 0) return;
  throw Error(EPERM,
              "{} has owner {} and mode {:04o}; it must be ours (user {}) and closed to others "
              "(0700)",
              what, status.st_uid, status.st_mode & 07777, ::geteuid());
}

std::string read_small_file(const std::string& path, size_t limit) {
  const FileDescriptor file = open_file(path, O_RDONLY);
  std::string content;
  char buffer[4096];
  for (;;) {
    const ssize_t count = ::read(file.get(), buffer, sizeof buffer);
    if (count < 0) {
      if (errno == EINTR) continue;
      throw system_error("cannot read " + path);
    }
    if (count == 0) return content;
    content.append(buffer, static_cast<size_t>(count));
    if (content.size() > limit) {
      throw Error(EFBIG, "{} is longer than the {} bytes allowed", path, limit);
    }
  }
}

}  // namespace famfs::base
