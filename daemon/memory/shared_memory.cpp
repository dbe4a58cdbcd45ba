// SPDX-License-Identifier: Apache-2.0
#include "memory/shared_memory.h"

#include <cstring>
#include <utility>

#include "base/checked.h"
#include "base/error.h"

namespace famfs::memory {
namespace {

struct Lines {
  uint64_t offset = 0;
  uint64_t length = 0;
};

// The lines that a checked range touches.
Lines lines_of(uint64_t offset, uint64_t length) {
  if (length == 0) return {};
  const uint64_t begin = base::round_down(offset, kCacheLine);
  const uint64_t end = base::round_down(offset + length - 1, kCacheLine) + kCacheLine;
  return {begin, end - begin};
}

// No fetch_add: that is an instruction with LOCK, which is a fence and would hide a missing one.
void count(std::atomic<uint64_t>& counter, uint64_t more) {
  counter.store(counter.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

}  // namespace

SharedMemory::SharedMemory(std::string name, uint64_t size, bool writable)
    : name_(std::move(name)), size_(size), reachable_(size), writable_(writable) {}

void SharedMemory::check_on_device(uint64_t offset, uint64_t length, const char* what) const {
  if (base::range_within(offset, length, size_)) return;
  throw base::Error(ERANGE, "{}: {} of {} bytes at offset {} is outside the {} bytes there are",
                    name_, what, length, offset, size_);
}

void SharedMemory::check_range(uint64_t offset, uint64_t length, const char* what) const {
  if (base::range_within(offset, length, reachable_)) return;
  check_on_device(offset, length, what);
  throw base::Error(ERANGE, "{}: {} of {} bytes at offset {} is outside the {} bytes in reach",
                    name_, what, length, offset, reachable_);
}

void SharedMemory::check_writable(const char* what) const {
  if (!writable_) throw base::Error(EROFS, "{}: {} on memory opened read-only", name_, what);
}

void SharedMemory::invalidate(uint64_t offset, uint64_t length) {
  const Lines lines = lines_of(offset, length);
  if (lines.length == 0) return;
  invalidate_lines(lines.offset, lines.length);
  count(lines_invalidated_, lines.length / kCacheLine);
}

std::span<const std::byte> SharedMemory::acquire(uint64_t offset, uint64_t length) {
  check_range(offset, length, "acquire");
  invalidate(offset, length);
  // Without the fence a load through the view could be satisfied before its line is dropped.
  load_fence();
  count(fences_, 1);
  return {base_ + offset, length};
}

std::span<const std::byte> SharedMemory::view(uint64_t offset, uint64_t length) const {
  check_range(offset, length, "view");
  return {base_ + offset, length};
}

void SharedMemory::store(uint64_t offset, std::span<const std::byte> bytes) {
  check_writable("store");
  check_range(offset, bytes.size(), "store");
  if (!bytes.empty()) std::memcpy(base_ + offset, bytes.data(), bytes.size());
}

void SharedMemory::store_word(uint64_t offset, uint64_t value) {
  check_writable("store");
  check_range(offset, sizeof value, "store");
  if (offset % sizeof value != 0) {
    throw base::Error(ERANGE, "{}: word at offset {}, which is not a multiple of {}", name_, offset,
                      sizeof value);
  }
  // x86 keeps stores in order; release keeps the compiler from changing that.
  std::atomic_ref(*reinterpret_cast<uint64_t*>(base_ + offset))
      .store(value, std::memory_order_release);
}

void SharedMemory::store_zeros(uint64_t offset, uint64_t length) {
  check_writable("store");
  check_range(offset, length, "store");
  if (length != 0) std::memset(base_ + offset, 0, length);
}

std::span<std::byte> SharedMemory::begin_write(uint64_t offset, uint64_t length) {
  check_writable("write");
  check_range(offset, length, "write");
  if (length == 0) return {};
  const uint64_t end = offset + length;
  const bool partial_first = offset % kCacheLine != 0;
  const bool partial_last = end % kCacheLine != 0;
  const bool one_line = offset / kCacheLine == (end - 1) / kCacheLine;
  if (partial_first) invalidate(offset, 1);
  if (partial_last && !(partial_first && one_line)) invalidate(end - 1, 1);
  if (partial_first || partial_last) {
    load_fence();
    count(fences_, 1);
  }
  return {base_ + offset, length};
}

void SharedMemory::write_back(uint64_t offset, uint64_t length) {
  check_writable("write-back");
  check_range(offset, length, "write-back");
  const Lines lines = lines_of(offset, length);
  if (lines.length == 0) return;
  write_back_lines(lines.offset, lines.length);
  count(lines_written_back_, lines.length / kCacheLine);
}

void SharedMemory::fence() {
  store_fence();
  count(fences_, 1);
}

void SharedMemory::publish(uint64_t offset, uint64_t length) {
  write_back(offset, length);
  fence();
}

Counters SharedMemory::counters() const noexcept {
  return {lines_written_back_.load(std::memory_order_relaxed),
          lines_invalidated_.load(std::memory_order_relaxed),
          fences_.load(std::memory_order_relaxed)};
}

}  // namespace famfs::memory
