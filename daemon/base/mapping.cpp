// SPDX-License-Identifier: Apache-2.0
#include "base/mapping.h"

#include <sys/mman.h>

#include <utility>

#include "base/error.h"

namespace famfs::base {
namespace {

std::byte* map(int fd, uint64_t length, int protection, int flags) {
  void* address = ::mmap(nullptr, length, protection, flags, fd, 0);
  if (address == MAP_FAILED) throw system_error(fmt::format("cannot map {} bytes", length));
  return static_cast<std::byte*>(address);
}

}  // namespace

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Mapping Mapping::shared(int fd, uint64_t length, bool writable) {
  return {map(fd, length, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED), length};
}

Mapping Mapping::anonymous(uint64_t length) {
  return {map(-1, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE),
          length};
}

}  // namespace famfs::base
