// SPDX-License-Identifier: Apache-2.0
#include "memory/cache_line.h"

#include <cpuid.h>
#include <immintrin.h>

#include <atomic>

#include "memory/shared_memory.h"

#ifndef __x86_64__
#error "famfs knows the cache instructions of x86-64 only"
#endif

namespace famfs::memory {
namespace {

using LineLoop = void (*)(const std::byte* start, size_t length) noexcept;

// The intrinsics take the address as an operand, so the compiler cannot flush another one; the
// target attribute lets this file be compiled for any x86-64 while the choice is made at run time.
__attribute__((target("clwb"))) void clwb_lines(const std::byte* start, size_t length) noexcept {
  for (size_t at = 0; at < length; at += kCacheLine) {
    _mm_clwb(const_cast<std::byte*>(start + at));
  }
}

__attribute__((target("clflushopt"))) void clflushopt_lines(const std::byte* start,
                                                            size_t length) noexcept {
  for (size_t at = 0; at < length; at += kCacheLine) {
    _mm_clflushopt(const_cast<std::byte*>(start + at));
  }
}

void clflush_lines(const std::byte* start, size_t length) noexcept {
  for (size_t at = 0; at < length; at += kCacheLine) _mm_clflush(start + at);
}

// EBX of CPUID leaf 7, subleaf 0: bit 23 CLFLUSHOPT, bit 24 CLWB (Intel SDM volume 2, CPUID).
unsigned structured_features() noexcept {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 ? ebx : 0;
}

LineLoop choose_invalidate() noexcept {
  return (structured_features() & (1U << 23)) != 0 ? clflushopt_lines : clflush_lines;
}

LineLoop choose_write_back() noexcept {
  return (structured_features() & (1U << 24)) != 0 ? clwb_lines : choose_invalidate();
}

}  // namespace

void cpu_write_back(const std::byte* start, size_t length) noexcept {
  static const LineLoop loop = choose_write_back();
  // The processor orders a store before a later write-back of the same line; this keeps the
  // compiler from moving the store past it.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  loop(start, length);
}

void cpu_invalidate(const std::byte* start, size_t length) noexcept {
  static const LineLoop loop = choose_invalidate();
  std::atomic_signal_fence(std::memory_order_seq_cst);
  loop(start, length);
}

void cpu_store_fence() noexcept { _mm_sfence(); }

void cpu_load_fence() noexcept { _mm_mfence(); }

}  // namespace famfs::memory
