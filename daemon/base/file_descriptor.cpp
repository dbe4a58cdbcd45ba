// SPDX-License-Identifier: Apache-2.0
#include "base/file_descriptor.h"

#include <fcntl.h>
#include <unistd.h>

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
