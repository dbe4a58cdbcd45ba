// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "media/log_entry.h"
#include "media/superblock.h"
#include "memory/shared_memory.h"

namespace famfs::volume {

// How a host comes by the further devices of a file system, which may have another name on each.
struct DeviceSource {
  // Paths of what may be one of them. Called again when one is looked for again.
  std::function<std::vector<std::string>()> candidates{};
  std::function<std::unique_ptr<memory::SharedMemory>(const std::string& path)> open{};
  // Keeps others from it, once it is known to be one, for as long as what it returns lives. What it
  // throws is why it is not used.
  std::function<std::shared_ptr<void>(const std::string& path)> claim{};
};

// Where one of them is on this host.
struct DeviceState {
  media::DaxDeviceEntry entry;
  std::string path;    // empty if it is missing, or is another file system's by now
  std::string reason;  // why, if it is empty
};

// The devices of a file system besides the first, on this host. Thread-safe.
class Devices {
 public:
  Devices(const media::Superblock& superblock, DeviceSource source);

  // Takes the devices that the log has named since. None is removed.
  void follow(const std::vector<media::DaxDeviceEntry>& entries);
  // Keeps others from a device that is to be added; throws as the source's.
  std::shared_ptr<void> claim(const std::string& path) const;
  // As follow() with one more, which is known already.
  void add(const media::DaxDeviceEntry& entry, std::unique_ptr<memory::SharedMemory> memory,
           std::shared_ptr<void> claim);

  // Whether device `index` (1 or more) is there. A missing one is looked for again, at most once a
  // second.
  bool present(uint64_t index);
  // Its memory, for as long as this object lives. Throws base::Error(EIO) with the reason if it is
  // missing or belongs to another file system by now; costs a line.
  memory::SharedMemory& memory(uint64_t index);

  std::vector<DeviceState> states() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Device {
    media::DaxDeviceEntry entry;
    std::string path{};
    std::unique_ptr<memory::SharedMemory> memory{};
    std::shared_ptr<void> claim{};
    std::string reason = "it was not looked for yet";
    Clock::time_point looked{};  // when it was last looked for
  };

  // These want mutex_.
  void look_for(Device& device);
  // Empty if it still is of this file system, else why not. Costs a line.
  std::string lost(const Device& device) const;
  // Empty if `memory` is that device, else what it is instead.
  std::string mismatch(memory::SharedMemory& memory, const media::DaxDeviceEntry& entry) const;

  const base::Uuid fs_uuid_;
  const DeviceSource source_;
  mutable std::mutex mutex_;
  std::vector<Device> devices_;  // by index - 1
};

// The first block of a device of a file system; a finding if it is something else. Makes it
// reachable.
media::Decoded<media::SecondaryBlock> load_secondary(memory::SharedMemory& memory);

}  // namespace famfs::volume
