// SPDX-License-Identifier: Apache-2.0
#include "mapbench/place.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace mapbench {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

OpenFile::OpenFile(const std::string& path) : fd_(open(path.c_str(), O_RDWR | O_CLOEXEC)) {
  if (fd_ < 0) fail(path);
}

OpenFile::~OpenFile() { close(fd_); }

Mapping::Mapping(const OpenFile& file, std::uint64_t offset, std::uint64_t length, bool large)
    : reserved_(length + 2 * kLargePage) {
  space_ = mmap(nullptr, reserved_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (space_ == MAP_FAILED) fail("mmap of address space");
  auto address = (reinterpret_cast<std::uintptr_t>(space_) + kLargePage - 1) & ~(kLargePage - 1);
  address += offset % kLargePage + (large ? 0 : kSmallPage);
  void* start = mmap(reinterpret_cast<void*>(address), length, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_FIXED, file.get(), static_cast<off_t>(offset));
  if (start == MAP_FAILED) {
    const int error = errno;
    munmap(space_, reserved_);
    errno = error;
    fail("mmap");
  }
  start_ = static_cast<char*>(start);
}

Mapping::~Mapping() { munmap(space_, reserved_); }

}  // namespace mapbench
