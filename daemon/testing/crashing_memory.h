// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "base/mapping.h"
#include "media/layout.h"
#include "memory/shared_memory.h"

namespace famfs::testing {

// Thrown where the host of a CrashingMemory dies.
struct Crash {};

// The bytes that outlive hosts.
struct Medium {
  base::Mapping bytes = base::Mapping::anonymous(media::kMinimumDeviceSize);
};

// A host with a write-back cache over a Medium, which dies at the n-th write-back or fence. Of the
// lines it had stored to but not yet fenced, a random choice has reached the medium by then, as a
// cache may evict any line at any time. Tracks the superblock and the first part of the log only.
class CrashingMemory final : public memory::SharedMemory {
 public:
  static constexpr uint64_t kTracked = media::kLogOffset + uint64_t{64} * 1024;

  CrashingMemory(Medium& medium, uint64_t die_at, unsigned seed)
      : SharedMemory("crashing memory", media::kMinimumDeviceSize, true),
        medium_(medium),
        cache_(base::Mapping::anonymous(media::kMinimumDeviceSize)),
        die_at_(die_at),
        random_(seed) {
    std::memcpy(cache_.data(), medium_.bytes.data(), kTracked);
    set_base(cache_.data());
  }

  const char* backend() const noexcept override { return "crashing"; }

 private:
  struct Line {
    uint64_t offset;
    std::byte bytes[memory::kCacheLine];
  };

  void step() {
    if (step_++ != die_at_) return;
    for (uint64_t at = 0; at < kTracked; at += memory::kCacheLine) {
      std::byte* const medium = medium_.bytes.data() + at;
      const bool dirty = std::memcmp(medium, cache_.data() + at, memory::kCacheLine) != 0;
      if (dirty && random_() % 2 == 0) std::memcpy(medium, cache_.data() + at, memory::kCacheLine);
    }
    throw Crash();
  }
  void write_back_lines(uint64_t offset, uint64_t length) override {
    step();
    for (uint64_t at = offset; at < std::min(offset + length, kTracked); at += memory::kCacheLine) {
      Line line{at, {}};
      std::memcpy(line.bytes, cache_.data() + at, memory::kCacheLine);
      pending_.push_back(line);
    }
  }
  void invalidate_lines(uint64_t offset, uint64_t length) override {
    if (offset < kTracked) {
      std::memcpy(cache_.data() + offset, medium_.bytes.data() + offset,
                  std::min(length, kTracked - offset));
    }
  }
  void store_fence() override {
    step();
    for (const Line& line : pending_) {
      std::memcpy(medium_.bytes.data() + line.offset, line.bytes, memory::kCacheLine);
    }
    pending_.clear();
  }
  void load_fence() override {}

  Medium& medium_;
  base::Mapping cache_;
  uint64_t die_at_;
  uint64_t step_ = 0;
  std::mt19937 random_;
  std::vector<Line> pending_;
};

}  // namespace famfs::testing
