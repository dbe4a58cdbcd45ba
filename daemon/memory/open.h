// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "memory/shared_memory.h"

namespace famfs::memory {

enum class Access { kReadOnly, kReadWrite };

enum class Backend {
  kAutomatic,    // device for a character device, file for a regular file
  kDevice,       // a dax device bound to device_dax or fsdev_dax
  kFile,         // a regular file, mapped shared
  kNoncoherent,  // a regular file as seen by a host with a cache of its own (for tests)
};

// "automatic", "device", "file", "noncoherent"; else nullopt.
std::optional<Backend> parse_backend(std::string_view text) noexcept;

// Opens `path`. Throws base::Error: the errno of a failed call; ENODEV for something that is
// neither a dax device nor a regular file; ENXIO for a dax device with another driver (kmem, none),
// naming it; EOPNOTSUPP for fsdev_dax with a kernel that maps no files. On fsdev_dax only what
// reach() asks for is mapped, and EBUSY says that it is in use on this machine.
std::unique_ptr<SharedMemory> open_memory(const std::string& path, Access access,
                                          Backend backend = Backend::kAutomatic);

}  // namespace famfs::memory
