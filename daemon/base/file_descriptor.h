// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <utility>

namespace famfs::base {

// Owns one descriptor; closes it when destroyed. Move-only. Not thread-safe.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  // Gives up ownership.
  int release() noexcept { return std::exchange(fd_, -1); }
  // Closes now.
  void reset() noexcept;

 private:
  int fd_ = -1;
};

// open(2) with O_CLOEXEC added. Throws Error with the errno and the path.
FileDescriptor open_file(const std::string& path, int flags, mode_t mode = 0);

// All of `data`, at the descriptor's position. `what` is for messages. Throws Error.
void write_all(int fd, const std::string& what, std::span<const std::byte> data);

// Whether `path` is the file that `fd` is open on: another may have been put in its place. Never
// throws.
bool is_named(int fd, const std::string& path) noexcept;

// Throws Error, EPERM if the file is not this user's or others may use it. `what` is for messages.
void require_private(int fd, const std::string& what);

// Whole content of a small file (at most `limit` bytes; more is EFBIG). Throws Error.
std::string read_small_file(const std::string& path, size_t limit = size_t{64} * 1024);

}  // namespace famfs::base
