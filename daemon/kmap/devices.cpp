// SPDX-License-Identifier: Apache-2.0
#include "kmap/devices.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/file_descriptor.h"

namespace famfs::kmap {
namespace {

std::string_view hint(int error) noexcept {
  switch (error) {
    case EPERM:
      return " (CAP_SYS_RAWIO is needed)";
    case EBUSY:
      return " (another mount or program has the device)";
    case ENODEV:
    case EOPNOTSUPP:
      return " (the device must be bound to fsdev_dax)";
    default:
      return "";
  }
}

template <typename In>
void tell(int fuse_fd, unsigned long request, const In& in, const std::string& path) {
  if (ioctl(fuse_fd, request, &in) >= 0) return;
  const int error = errno;
  throw base::Error(error, "the kernel does not take {} for mapped files: {}{}", path,
                    std::strerror(error), hint(error));
}

}  // namespace

void announce_device(Protocol protocol, int fuse_fd, std::uint32_t index, const std::string& path) {
  if (protocol == Protocol::kFmapV10) return;
  // That the device can be opened for writing is the permission check.
  const base::FileDescriptor device = base::open_file(path, O_RDWR);
  if (protocol == Protocol::kFmap) {
    uapi::DaxdevRegisterIn in{};
    in.fd = device.get();
    in.index = index;
    tell(fuse_fd, uapi::kIoctlDaxdevRegister, in, path);
  } else {
    uapi::BackingCreateIn in{};
    in.fd = device.get();
    in.backing_id = kFirstDeviceBacking + index;
    tell(fuse_fd, uapi::kIoctlBackingCreate, in, path);
  }
}

uapi::DaxdevOut encode_daxdev(std::uint32_t index, const std::string& path) {
  uapi::DaxdevOut out{};
  if (path.size() >= sizeof(out.name)) {
    throw base::Error(ENAMETOOLONG, "{}: the path of a device may have {} bytes", path,
                      sizeof(out.name) - 1);
  }
  out.index = static_cast<std::uint16_t>(index);
  path.copy(out.name, sizeof(out.name) - 1);
  return out;
}

}  // namespace famfs::kmap
