// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <span>
#include <utility>
#include <vector>

#include "base/mapping.h"
#include "media/layout.h"
#include "memory/shared_memory.h"

namespace famfs::testing {

// Anonymous memory that writes down every write-back, invalidation and fence.
class RecordingMemory final : public memory::SharedMemory {
 public:
  enum class Kind { kWriteBack, kInvalidate, kStoreFence, kLoadFence };

  struct Event {
    Kind kind;
    uint64_t offset = 0;
    uint64_t length = 0;

    friend bool operator==(const Event&, const Event&) = default;
    friend std::ostream& operator<<(std::ostream& out, const Event& event) {
      static constexpr const char* kNames[] = {"write_back", "invalidate", "store_fence",
                                               "load_fence"};
      return out << kNames[static_cast<int>(event.kind)] << '(' << event.offset << ", "
                 << event.length << ')';
    }
  };

  explicit RecordingMemory(uint64_t size = media::kMinimumDeviceSize, bool writable = true)
      : RecordingMemory(std::make_shared<base::Mapping>(base::Mapping::anonymous(size)), writable) {
  }

  // One more host over the same bytes, coherent with the others.
  explicit RecordingMemory(std::shared_ptr<base::Mapping> bytes, bool writable = true)
      : SharedMemory("test memory", bytes->size(), writable), mapping_(std::move(bytes)) {
    set_base(mapping_->data());
  }

  const char* backend() const noexcept override { return "recording"; }

  // The bytes, past all checks and records.
  std::span<std::byte> raw(uint64_t offset, uint64_t length) {
    return {mapping_->data() + offset, length};
  }

  // Plays a device that the daemon can reach only a part of.
  bool files_in_reach = true;
  bool reaches_files() const noexcept override { return files_in_reach; }

  std::vector<Event> events;
  // Called for each event before it takes effect.
  std::function<void(const Event&)> on_event;

 private:
  void record(Event event) {
    if (on_event) on_event(event);
    events.push_back(event);
  }
  void write_back_lines(uint64_t offset, uint64_t length) override {
    record({Kind::kWriteBack, offset, length});
  }
  void invalidate_lines(uint64_t offset, uint64_t length) override {
    record({Kind::kInvalidate, offset, length});
  }
  void store_fence() override { record({Kind::kStoreFence}); }
  void load_fence() override { record({Kind::kLoadFence}); }

  std::shared_ptr<base::Mapping> mapping_;
};

}  // namespace famfs::testing
