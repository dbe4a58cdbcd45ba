// SPDX-License-Identifier: Apache-2.0
#include "memory/open.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "base/mapping.h"
#include "memory/dax_device.h"
#include "memory/mapped_memory.h"
#include "memory/noncoherent_memory.h"
#include "memory/window_memory.h"

namespace famfs::memory {
namespace {

std::unique_ptr<SharedMemory> open_device(const std::string& path, bool writable) {
  const DaxDevice device = describe_dax_device(path);
  if (device.driver == kFileSystemDriver) {
    // Its character device has no mmap; files in it do.
    return std::make_unique<WindowMemory>(path, device.size, writable);
  }
  // kmem has made the memory System RAM.
  if (device.driver != kDeviceDriver) {
    throw base::Error(ENXIO, "{} is bound to {}; allowed: {} and {} (--set-daxmode chooses)", path,
                      device.driver.empty() ? "no driver" : device.driver, kDeviceDriver,
                      kFileSystemDriver);
  }
  const base::FileDescriptor file = base::open_file(path, writable ? O_RDWR : O_RDONLY);
  return std::make_unique<MappedMemory>(
      path, base::Mapping::shared(file.get(), device.size, writable), writable, "device");
}

std::unique_ptr<SharedMemory> open_regular(const std::string& path, bool writable,
                                           bool noncoherent) {
  base::FileDescriptor file = base::open_file(path, writable ? O_RDWR : O_RDONLY);
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) throw base::system_error("cannot look at " + path);
  if (!S_ISREG(status.st_mode)) {
    throw base::Error(ENODEV, "{} is neither a dax device nor a regular file", path);
  }
  if (status.st_size == 0) throw base::Error(EINVAL, "{} is empty", path);
  const auto size = static_cast<uint64_t>(status.st_size);
  if (noncoherent) {
    return std::make_unique<NoncoherentMemory>(path, std::move(file), size, writable);
  }
  return std::make_unique<MappedMemory>(path, base::Mapping::shared(file.get(), size, writable),
                                        writable, "file");
}

bool is_character_device(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) throw base::system_error("cannot open " + path);
  return S_ISCHR(status.st_mode);
}

}  // namespace

std::optional<Backend> parse_backend(std::string_view text) noexcept {
  if (text == "automatic") return Backend::kAutomatic;
  if (text == "device") return Backend::kDevice;
  if (text == "file") return Backend::kFile;
  if (text == "noncoherent") return Backend::kNoncoherent;
  return std::nullopt;
}

std::unique_ptr<SharedMemory> open_memory(const std::string& path, Access access, Backend backend) {
  const bool writable = access == Access::kReadWrite;
  switch (backend) {
    case Backend::kDevice:
      return open_device(path, writable);
    case Backend::kFile:
      return open_regular(path, writable, false);
    case Backend::kNoncoherent:
      return open_regular(path, writable, true);
    case Backend::kAutomatic:
      break;
  }
  return is_character_device(path) ? open_device(path, writable)
                                   : open_regular(path, writable, false);
}

}  // namespace famfs::memory
