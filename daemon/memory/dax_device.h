// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace famfs::memory {

// The driver whose devices have mmap, and the one whose devices file systems can use.
inline constexpr const char* kDeviceDriver = "device_dax";
inline constexpr const char* kFileSystemDriver = "fsdev_dax";

// A dax device as sysfs and libdaxctl describe it.
struct DaxDevice {
  std::string name;       // "dax0.0"
  std::string path;       // "/dev/dax0.0"
  uint64_t size = 0;      // bytes
  uint64_t align = 0;     // bytes; 0 if unknown
  uint64_t resource = 0;  // host physical address of its start; 0 if unknown (needs root)
  std::string driver;     // "device_dax", "fsdev_dax", "kmem", or "" if unbound
};

// Every dax device of this machine, by libdaxctl, in its order. Throws base::Error.
std::vector<DaxDevice> list_dax_devices();

// The device behind a character device node. Throws base::Error: the errno of stat, ENODEV if it is
// not a dax device.
DaxDevice describe_dax_device(const std::string& path);

}  // namespace famfs::memory
