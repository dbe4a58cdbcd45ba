// SPDX-License-Identifier: Apache-2.0
#include "fuse/hooked_io.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "base/error.h"
#include "fuse/filesystem.h"

namespace famfs::fuse {
namespace {

MessageHook& hook_of(void* user_data) { return static_cast<Filesystem*>(user_data)->hook(); }

ssize_t hooked_read(int fd, void* buffer, size_t size, void* user_data) {
  return hook_of(user_data).read(fd, buffer, size);
}

ssize_t hooked_writev(int fd, iovec* parts, int count, void* user_data) {
  return hook_of(user_data).writev(fd, parts, count);
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
constexpr unsigned long kCloneDescriptor = _IOR(229, 0, std::uint32_t);  // FUSE_DEV_IOC_CLONE

// From 3.17 on libfuse makes a thread's own descriptor only with the help of who reads from it.
int clone_descriptor(int session_fd) {
  const int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fd < 0) return -errno;
  auto of = static_cast<std::uint32_t>(session_fd);
  if (ioctl(fd, kCloneDescriptor, &of) == 0) return fd;
  const int error = errno;
  close(fd);
  return -error;
}
#endif

}  // namespace

void install_hook(fuse_session* session, int fd) {
  fuse_custom_io io{};
  io.read = hooked_read;
  io.writev = hooked_writev;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  io.clone_fd = clone_descriptor;
  const int result = fuse_session_custom_io_317(session, &io, sizeof(io), fd);
#else
  const int result = fuse_session_custom_io(session, &io, fd);
#endif
  if (result != 0) {
    throw base::Error(EIO, "libfuse takes no functions for its messages: {}", result);
  }
}

}  // namespace famfs::fuse
