// SPDX-License-Identifier: Apache-2.0
#include "memory/file_lines.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "base/error.h"
#include "base/mapping.h"
#include "memory/mapped_memory.h"

namespace famfs::memory {

bool drop_lines_of_file(int fd, const std::string& path) {
  struct stat attributes{};
  if (fstat(fd, &attributes) != 0) throw base::system_error("cannot look at " + path);
  const auto size = static_cast<std::uint64_t>(attributes.st_size);
  if (size == 0) return true;
  base::Mapping mapping;
  try {
    mapping = base::Mapping::shared(fd, size, false);
  } catch (const base::Error& error) {
    if (error.code() == ENODEV) return false;
    throw;
  }
  // A line that is dirty is written back when it is dropped.
  MappedMemory(path, std::move(mapping), false, "file").acquire(0, size);
  return true;
}

}  // namespace famfs::memory
