// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace famfs::base {

// Owns one mmap(2) range; unmaps it when destroyed. Move-only. The bytes may be shared by threads
// as any memory; the object itself may not.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  // MAP_SHARED of [0, length) of `fd`. Throws Error with the errno of mmap.
  static Mapping shared(int fd, uint64_t length, bool writable);
  // MAP_PRIVATE of [0, length) of `fd`, for reading. Throws Error with the errno of mmap.
  static Mapping copy_on_write(int fd, uint64_t length);
  // Private zero-filled memory, reserved lazily.
  static Mapping anonymous(uint64_t length);
  // Addresses without memory, which touching is a fault, from a multiple of `alignment` (a power
  // of two of at least a page) on.
  static Mapping reserved(uint64_t length, uint64_t alignment);

  // Puts MAP_SHARED of [0, length) of `fd` at `offset` of the range. Throws Error with the errno of
  // mmap, ERANGE for what is not inside the range.
  void replace(uint64_t offset, int fd, uint64_t length, bool writable);

  // For a read-only mapping storing through data() is a fault; memory/ guards it.
  std::byte* data() const noexcept { return data_; }
  uint64_t size() const noexcept { return size_; }

 private:
  Mapping(std::byte* data, uint64_t size) : data_(data), size_(size) {}
  std::byte* data_ = nullptr;
  uint64_t size_ = 0;
};

}  // namespace famfs::base
