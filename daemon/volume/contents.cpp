// SPDX-License-Identifier: Apache-2.0
#include "volume/contents.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "media/extent_check.h"
#include "media/path.h"

namespace famfs::volume {
namespace {

media::Finding damage(uint64_t index, std::string field, std::string found, std::string allowed) {
  return {media::Severity::kDamage, media::Area::kLogEntry, index,
          std::move(field),         std::move(found),       std::move(allowed)};
}

}  // namespace

std::optional<media::Finding> Contents::add(const media::LogEntry& entry) {
  if (const auto* file = std::get_if<media::FileEntry>(&entry.body)) return add_file(entry, *file);
  if (const auto* device = std::get_if<media::DaxDeviceEntry>(&entry.body)) {
    return add_device(entry.index, *device);
  }
  return tree.insert(entry);
}

std::optional<media::Finding> Contents::add_file(const media::LogEntry& entry,
                                                 const media::FileEntry& file) {
  std::optional<media::Finding> wrong;
  media::check_devices(
      file.map, device_sizes_, [&](std::string field, std::string found, std::string allowed) {
        if (!wrong) {
          wrong = damage(entry.index, std::move(field), std::move(found), std::move(allowed));
        }
      });
  if (wrong) return wrong;
  const uint64_t nodes = tree.count();
  if (auto finding = tree.insert(entry)) return finding;
  const auto collision = space.reserve(file.map, tree.count());
  if (!collision) return std::nullopt;

  // An owner that is the new node itself means two extents of one file.
  const std::string owner = media::printable(tree.path_of(collision->owner));
  const uint64_t device = collision->extent.device_index;
  tree.rollback(nodes);
  return damage(
      entry.index, "fmap",
      fmt::format("{} bytes at {}{} of '{}' that overlap '{}'", collision->extent.length,
                  collision->extent.offset, device == 0 ? "" : fmt::format(" on device {}", device),
                  media::printable(file.path), owner),
      "space that no file uses");
}

std::optional<media::Finding> Contents::add_device(uint64_t index,
                                                   const media::DaxDeviceEntry& device) {
  if (device.index != devices.size() + 1) {
    return damage(index, "daxdev.index", std::to_string(device.index),
                  fmt::format("{}, as devices are numbered in order", devices.size() + 1));
  }
  const bool known =
      device.uuid == first_device_ ||
      std::any_of(devices.begin(), devices.end(),
                  [&](const media::DaxDeviceEntry& other) { return other.uuid == device.uuid; });
  if (known) {
    return damage(index, "daxdev.uuid", device.uuid.to_string(),
                  "the uuid of a device that is not in the file system yet");
  }
  devices.push_back(device);
  device_sizes_.push_back(device.size);
  space.add_device(device.size);
  return std::nullopt;
}

void Contents::rollback(const Mark& mark) {
  for (uint64_t id = tree.count(); id > mark.nodes; --id) space.release(tree.find(id)->map);
  tree.rollback(mark.nodes);
  for (; devices.size() > mark.devices; devices.pop_back()) {
    space.remove_device();
    device_sizes_.pop_back();
  }
}

}  // namespace famfs::volume
