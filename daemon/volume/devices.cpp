// SPDX-License-Identifier: Apache-2.0
#include "volume/devices.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace famfs::volume {
namespace {

constexpr std::chrono::seconds kPause{1};

std::string named(const media::DaxDeviceEntry& entry) {
  return fmt::format("device {} ({}, {} bytes)", entry.index, entry.uuid.to_string(), entry.size);
}

}  // namespace

media::Decoded<media::SecondaryBlock> load_secondary(memory::SharedMemory& memory) {
  const uint64_t readable = std::min(memory.size(), media::kSuperblockSize);
  memory.reach(readable);
  return media::decode_secondary(memory.acquire(0, readable), memory.size());
}

Devices::Devices(const media::Superblock& superblock, DeviceSource source)
    : fs_uuid_(superblock.fs_uuid), source_(std::move(source)) {}

void Devices::follow(const std::vector<media::DaxDeviceEntry>& entries) {
  const std::scoped_lock lock(mutex_);
  for (size_t i = devices_.size(); i < entries.size(); ++i) {
    devices_.push_back({.entry = entries[i]});
    look_for(devices_.back());
  }
}

void Devices::add(const media::DaxDeviceEntry& entry, std::unique_ptr<memory::SharedMemory> memory,
                  std::shared_ptr<void> claim) {
  const std::scoped_lock lock(mutex_);
  devices_.push_back({.entry = entry,
                      .path = memory->name(),
                      .memory = std::move(memory),
                      .claim = std::move(claim)});
}

std::shared_ptr<void> Devices::claim(const std::string& path) const {
  return source_.claim ? source_.claim(path) : nullptr;
}

std::string Devices::mismatch(memory::SharedMemory& memory,
                              const media::DaxDeviceEntry& entry) const {
  const auto block = load_secondary(memory);
  if (!block.value) return media::to_string(block.findings.front());
  if (block.value->fs_uuid != fs_uuid_) {
    return fmt::format("it is of the file system {}", block.value->fs_uuid.to_string());
  }
  if (block.value->device_uuid != entry.uuid) {
    return fmt::format("it is device {}", block.value->device_uuid.to_string());
  }
  if (block.value->device_size != entry.size) {
    return fmt::format("its first block says {} bytes, the log {}", block.value->device_size,
                       entry.size);
  }
  return {};
}

std::string Devices::lost(const Device& device) const {
  // Magic and fs uuid share a line here too.
  if (media::is_same_file_system(device.memory->acquire(0, memory::kCacheLine), fs_uuid_)) {
    return {};
  }
  return fmt::format("{}: {} was made part of another file system since it was found",
                     device.memory->name(), named(device.entry));
}

void Devices::look_for(Device& device) {
  device.looked = Clock::now();
  std::string seen;
  const auto candidates = source_.candidates ? source_.candidates() : std::vector<std::string>{};
  for (const std::string& path : candidates) {
    try {
      auto memory = source_.open(path);
      std::string why = mismatch(*memory, device.entry);
      if (why.empty()) {
        device.claim = claim(path);
        device.path = path;
        device.memory = std::move(memory);
        device.reason.clear();
        return;
      }
      seen += fmt::format("; {}: {}", path, why);
    } catch (const base::Error& error) {
      seen += fmt::format("; {}", error.what());
    }
  }
  device.reason = fmt::format("{} is not among the {} devices looked at on this host{}",
                              named(device.entry), candidates.size(), seen);
}

bool Devices::present(uint64_t index) {
  const std::scoped_lock lock(mutex_);
  Device& device = devices_.at(index - 1);
  if (!device.memory && Clock::now() - device.looked >= kPause) look_for(device);
  return device.memory != nullptr;
}

memory::SharedMemory& Devices::memory(uint64_t index) {
  if (!present(index)) {
    const std::scoped_lock lock(mutex_);
    throw base::Error(EIO, "{}", devices_[index - 1].reason);
  }
  const std::scoped_lock lock(mutex_);
  const Device& device = devices_[index - 1];
  if (const std::string why = lost(device); !why.empty()) throw base::Error(EIO, "{}", why);
  return *device.memory;
}

std::vector<DeviceState> Devices::states() const {
  const std::scoped_lock lock(mutex_);
  std::vector<DeviceState> states;
  for (const Device& device : devices_) {
    std::string reason = device.memory ? lost(device) : device.reason;
    const bool here = reason.empty();
    states.push_back({device.entry, here ? device.path : "", std::move(reason)});
  }
  return states;
}

}  // namespace famfs::volume
