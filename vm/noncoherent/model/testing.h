// SPDX-License-Identifier: Apache-2.0
// Two hosts without a machine: memory that the tests load from and store to as a guest would.
#pragma once

#include <cstring>
#include <memory>
#include <set>
#include <span>
#include <string_view>
#include <vector>

#include "model/cache.h"
#include "model/processor.h"

namespace noncoherent::testing {

struct AlignedBytes {
  explicit AlignedBytes(size_t size) : pages(size / kPageSize) {}
  std::byte* data() { return pages.data()->data(); }
  std::span<std::byte> all() { return {data(), pages.size() * kPageSize}; }

  struct alignas(kPageSize) Aligned : Page {};
  std::vector<Aligned> pages;
};

class MemoryFrames final : public Frames {
 public:
  explicit MemoryFrames(size_t size) : bytes_(size) {}

  std::byte* data() override { return bytes_.data(); }
  void install(uint64_t page, const Page& bytes) override {
    std::memcpy(data() + page * kPageSize, bytes.data(), kPageSize);
    present.insert(page);
  }
  void hold(uint64_t page) override { held.insert(page); }
  void release(uint64_t page) override { held.erase(page); }
  void discard(uint64_t page) override {
    held.erase(page);
    present.erase(page);
    std::memset(data() + page * kPageSize, 0xdd, kPageSize);
  }
  void wake(uint64_t) override {}

  std::set<uint64_t> present, held;

 private:
  AlignedBytes bytes_;
};

inline constexpr size_t kDeviceSize = 64 * kPageSize;

struct Device {
  Device() { locks->prepare(); }

  AlignedBytes memory{kDeviceSize};
  std::unique_ptr<LineLocks> locks = std::make_unique<LineLocks>();
  SharedDevice shared{memory.all(), *locks};
};

// A host with one processor; offsets are bytes of the device.
struct Host {
  Host(Device& device, std::string_view policy, Gate* gate = nullptr, DeviceBlame* blame = nullptr)
      : cache(0, device.shared, frames, parse_policy(policy), counters, gate, blame),
        processor(counters, parse_policy(policy)) {}

  void touch(uint64_t offset) {
    if (!frames.present.contains(offset / kPageSize)) cache.fill(offset / kPageSize);
  }
  uint64_t load(uint64_t offset) {
    touch(offset);
    uint64_t value;
    std::memcpy(&value, frames.data() + offset, sizeof(value));
    return value;
  }
  void put(uint64_t offset, uint64_t value) {
    touch(offset);
    std::memcpy(frames.data() + offset, &value, sizeof(value));
  }
  void store(uint64_t offset, uint64_t value) {
    put(offset, value);
    cache.stored(offset, sizeof(value));
  }
  void store_around(uint64_t offset, uint64_t value) {
    put(offset, value);
    processor.store_around(cache, offset, sizeof(value));
  }
  void clwb(uint64_t offset) { processor.clwb(cache, offset / kLineSize); }
  void clflushopt(uint64_t offset) { processor.clflushopt(cache, offset / kLineSize); }
  void clflush(uint64_t offset) { processor.clflush(cache, offset / kLineSize); }
  void sfence() { processor.store_fence(); }
  void mfence() { processor.full_fence(); }

  MemoryFrames frames{kDeviceSize};
  Counters counters;
  Cache cache;
  Processor processor;
};

}  // namespace noncoherent::testing
