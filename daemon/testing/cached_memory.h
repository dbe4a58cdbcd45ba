// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mapping.h"
#include "media/layout.h"
#include "memory/shared_memory.h"

namespace famfs::testing {

using Line = std::array<std::byte, memory::kCacheLine>;

// The bytes that outlive hosts. Superblock and the first part of the log only.
class Medium {
 public:
  static constexpr uint64_t kSuperblockPart = 4096;
  static constexpr uint64_t kLogPart = uint64_t{32} * 1024;

  static bool tracks(uint64_t offset) {
    return offset < kSuperblockPart ||
           (offset >= media::kLogOffset && offset < media::kLogOffset + kLogPart);
  }
  std::span<std::byte> line(uint64_t offset) {
    return std::span(bytes_).subspan(
        offset < kSuperblockPart ? offset : kSuperblockPart + offset - media::kLogOffset,
        memory::kCacheLine);
  }
  // To tell media apart.
  std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }

 private:
  std::vector<std::byte> bytes_ = std::vector<std::byte>(kSuperblockPart + kLogPart);
};

// What one host did to the lines that a Medium tracks, in order.
struct Step {
  enum class Kind { kStore, kWriteBack, kFence };
  Kind kind;
  std::map<uint64_t, Line> lines{};  // offset -> content after it; of kFence none
  // Of kStore: whether it is one store instruction. Of others, a line may hold a part.
  bool atomic = true;
};

// A host with a write-back cache over a Medium: stores stay in the cache until written back and
// fenced, loads see the medium only after an invalidation. It never writes back on its own: what a
// processor might do meanwhile is what CrashStates and Eviction try out over the steps recorded.
// Invalidating a line that was stored to and not written back loses the store, so that it shows.
class CachedMemory final : public memory::SharedMemory {
 public:
  explicit CachedMemory(Medium& medium, std::vector<Step>* steps = nullptr)
      : SharedMemory("simulated memory", media::kMinimumDeviceSize, true),
        medium_(medium),
        steps_(steps),
        cache_(base::Mapping::anonymous(media::kMinimumDeviceSize)) {
    set_base(cache_.data());
    load(0, Medium::kSuperblockPart);
    load(media::kLogOffset, Medium::kLogPart);
  }

  const char* backend() const noexcept override { return "simulated"; }

  // Called before each invalidation, write-back and fence.
  std::function<void()> on_step;

  void store(uint64_t offset, std::span<const std::byte> bytes) override {
    SharedMemory::store(offset, bytes);
    stored(offset, bytes.size(), false);
  }
  void store_word(uint64_t offset, uint64_t value) override {
    SharedMemory::store_word(offset, value);
    stored(offset, sizeof value, true);
  }
  void store_zeros(uint64_t offset, uint64_t length) override {
    SharedMemory::store_zeros(offset, length);
    stored(offset, length, false);
  }

 private:
  Line cached(uint64_t offset) const {
    Line line;
    std::memcpy(line.data(), base() + offset, line.size());
    return line;
  }
  // Calls `act` for each tracked line of the range.
  template <typename Act>
  static void each_line(uint64_t offset, uint64_t length, Act act) {
    const uint64_t end = std::min(offset + length, media::kLogOffset + Medium::kLogPart);
    for (uint64_t at = offset / 64 * 64; at < end; at += memory::kCacheLine) {
      if (Medium::tracks(at)) act(at);
    }
  }
  void load(uint64_t offset, uint64_t length) {
    each_line(offset, length, [&](uint64_t at) {
      std::memcpy(base() + at, medium_.line(at).data(), memory::kCacheLine);
    });
  }
  void record(Step::Kind kind, uint64_t offset, uint64_t length, bool atomic = true) {
    if (steps_ == nullptr) return;
    Step step{kind, {}, atomic};
    each_line(offset, length, [&](uint64_t at) { step.lines[at] = cached(at); });
    steps_->push_back(std::move(step));
  }
  void complete_pending() {
    for (const auto& [at, line] : pending_) {
      std::memcpy(medium_.line(at).data(), line.data(), line.size());
    }
    pending_.clear();
  }
  void stored(uint64_t offset, uint64_t length, bool atomic) {
    each_line(offset, length, [&](uint64_t at) { dirty_.insert(at); });
    record(Step::Kind::kStore, offset, length, atomic);
  }
  void step() {
    if (on_step) on_step();
  }
  void write_back_lines(uint64_t offset, uint64_t length) override {
    step();
    record(Step::Kind::kWriteBack, offset, length);
    each_line(offset, length, [&](uint64_t at) {
      if (dirty_.erase(at) > 0) pending_[at] = cached(at);
    });
  }
  void invalidate_lines(uint64_t offset, uint64_t length) override {
    step();
    complete_pending();
    load(offset, length);
  }
  void store_fence() override {
    step();
    record(Step::Kind::kFence, 0, 0);
    complete_pending();
  }
  void load_fence() override {}

  Medium& medium_;
  std::vector<Step>* steps_;
  base::Mapping cache_;
  std::set<uint64_t> dirty_;          // stored to since they were loaded or written back
  std::map<uint64_t, Line> pending_;  // written back, not fenced
};

}  // namespace famfs::testing
