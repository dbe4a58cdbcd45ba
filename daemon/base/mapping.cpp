// SPDX-License-Identifier: Apache-2.0
#include "base/mapping.h"

#include <sys/mman.h>

#include <utility>

#include "base/checked.h"
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

Mapping Mapping::copy_on_write(int fd, uint64_t length) {
  return {map(fd, length, PROT_READ, MAP_PRIVATE), length};
}

Mapping Mapping::anonymous(uint64_t length) {
  return {map(-1, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE),
          length};
}

Mapping Mapping::reserved(uint64_t length, uint64_t alignment) {
  void* const address = ::mmap(nullptr, length + alignment, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) throw system_error(fmt::format("cannot reserve {} bytes", length));
  auto* const start = static_cast<std::byte*>(address);
  const uint64_t head = -reinterpret_cast<uintptr_t>(start) & (alignment - 1);
  if (head != 0) ::munmap(start, head);
  if (alignment != head) ::munmap(start + head + length, alignment - head);
  return {start + head, length};
}

void Mapping::replace(uint64_t offset, int fd, uint64_t length, bool writable) {
  if (!range_within(offset, length, size_)) {
    throw Error(ERANGE, "{} bytes at {} are not inside the {} bytes reserved", length, offset,
                size_);
  }
  if (::mmap(data_ + offset, length, writable ? PROT_READ | PROT_WRITE : PROT_READ,
             MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
    throw system_error(fmt::format("cannot map {} bytes", length));
  }
}

}  // namespace famfs::base
