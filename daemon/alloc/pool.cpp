// SPDX-License-Identifier: Apache-2.0
#include "alloc/pool.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "base/checked.h"
#include "base/error.h"

namespace famfs::alloc {

Pool::Pool(const media::Superblock& superblock) : unit_(superblock.alloc_unit) {
  devices_.push_back({Space(superblock), true});
}

void Pool::add_device(uint64_t size) {
  devices_.push_back({Space(devices_.size(), media::kSecondaryFileSpace, size, unit_), false});
}

void Pool::remove_device() { devices_.pop_back(); }

uint64_t Pool::usable() const noexcept {
  return static_cast<uint64_t>(std::count_if(devices_.begin(), devices_.end(),
                                             [](const Device& device) { return device.usable; }));
}

std::vector<media::Extent> Pool::one_run(uint64_t length) const {
  for (const Device& device : devices_) {
    if (!device.usable) continue;
    if (const auto run = device.space.find(length)) return {*run};
  }
  return {};
}

// The largest runs that together have `length` bytes, in order of place; empty if 16 do not.
std::vector<media::Extent> Pool::scattered(uint64_t length) const {
  std::vector<media::Extent> runs;
  for (const Device& device : devices_) {
    if (!device.usable) continue;
    const auto largest = device.space.largest_runs(media::kMaxExtents);
    runs.insert(runs.end(), largest.begin(), largest.end());
  }
  std::stable_sort(runs.begin(), runs.end(),
                   [](const auto& a, const auto& b) { return a.length > b.length; });
  std::vector<media::Extent> extents;
  for (media::Extent run : runs) {
    if (length == 0 || extents.size() == media::kMaxExtents) break;
    run.length = std::min(run.length, length);
    length -= run.length;
    extents.push_back(run);
  }
  if (length > 0) return {};
  std::sort(extents.begin(), extents.end(), [](const auto& a, const auto& b) {
    return std::tie(a.device_index, a.offset) < std::tie(b.device_index, b.offset);
  });
  return extents;
}

media::FileMap Pool::allocate(uint64_t size, uint64_t owner) {
  if (size == 0) throw base::Error(EINVAL, "file size is 0; allowed: 1 or more");
  media::FileMap map;
  if (const auto length = base::round_up(size, unit_)) {
    map.extents = one_run(*length);
    if (map.extents.empty()) map.extents = scattered(*length);
  }
  if (map.extents.empty()) {
    uint64_t free = 0;
    uint64_t largest = 0;
    for (const Device& device : devices_) {
      if (!device.usable) continue;
      free += device.space.free();
      for (const auto& run : device.space.largest_runs(1)) largest = std::max(largest, run.length);
    }
    throw base::Error(ENOSPC,
                      "no room for {} bytes: {} are free on {} of {} devices, the largest free run "
                      "has {}, and a file has at most {} runs",
                      size, free, usable(), devices_.size(), largest, media::kMaxExtents);
  }
  take(map, owner);
  return map;
}

std::vector<media::Extent> Pool::strip_per_device(uint64_t length, uint64_t strips,
                                                  std::mt19937_64& random) const {
  std::vector<media::Extent> found;
  for (const Device& device : devices_) {
    if (!device.usable) continue;
    if (const auto strip = device.space.find(length)) found.push_back(*strip);
  }
  std::shuffle(found.begin(), found.end(), random);
  if (found.size() > strips) found.resize(strips);
  return found;
}

std::vector<media::Extent> Pool::strip_per_bucket(uint64_t length, const Interleave& interleave,
                                                  std::mt19937_64& random) const {
  std::vector<media::Extent> best;
  for (const Device& device : devices_) {
    if (!device.usable) continue;
    auto strips = device.space.find_strips(length, interleave, random);
    if (strips.size() == interleave.nstrips) return strips;
    if (strips.size() > best.size()) best = std::move(strips);
  }
  return best;
}

media::FileMap Pool::allocate(uint64_t size, const Interleave& interleave, uint64_t owner,
                              std::mt19937_64& random) {
  const bool several =
      usable() > 1 && interleave.nstrips <= std::min<uint64_t>(usable(), media::kMaxStrips);
  Interleave checked = interleave;
  // A strip for each device needs no buckets.
  if (several) checked.nbuckets = 1;
  if (several) checked.nstrips = std::min<uint64_t>(checked.nstrips, 1);
  check_interleave(checked, devices_.front().space.capacity(), unit_);
  if (size < interleave.chunk_size) return allocate(size, owner);
  const auto row = base::checked_multiply(interleave.chunk_size, interleave.nstrips);
  const auto length =
      row ? base::checked_multiply(base::divide_up(size, *row), interleave.chunk_size)
          : std::nullopt;
  media::FileMap map{interleave.chunk_size, {}};
  if (length) {
    map.extents = several ? strip_per_device(*length, interleave.nstrips, random)
                          : strip_per_bucket(*length, interleave, random);
  }
  if (map.extents.size() < interleave.nstrips) {
    throw base::Error(
        ENOSPC, "no room for {} bytes in {} strips: {} of {} {} have a run of {} bytes", size,
        interleave.nstrips, map.extents.size(), several ? usable() : interleave.nbuckets,
        several ? "devices" : "buckets", length.value_or(UINT64_MAX));
  }
  // Different devices or buckets do not overlap, so taking at the end takes the same runs.
  take(map, owner);
  return map;
}

void Pool::take(const media::FileMap& map, uint64_t owner) {
  for (const media::Extent& extent : map.extents) {
    devices_[extent.device_index].space.take(extent, owner);
  }
}

std::optional<Collision> Pool::reserve(const media::FileMap& map, uint64_t owner) {
  for (size_t i = 0; i < map.extents.size(); ++i) {
    const media::Extent& extent = map.extents[i];
    auto collision = devices_.at(extent.device_index).space.reserve(extent, owner);
    if (!collision) continue;
    for (size_t j = 0; j < i; ++j) {
      devices_[map.extents[j].device_index].space.release(map.extents[j]);
    }
    return collision;
  }
  return std::nullopt;
}

void Pool::release(const media::FileMap& map) {
  for (const media::Extent& extent : map.extents) {
    devices_.at(extent.device_index).space.release(extent);
  }
}

uint64_t Pool::capacity() const noexcept {
  uint64_t bytes = 0;
  for (const Device& device : devices_) bytes += device.space.capacity();
  return bytes;
}

uint64_t Pool::used() const noexcept {
  uint64_t bytes = 0;
  for (const Device& device : devices_) bytes += device.space.used();
  return bytes;
}

}  // namespace famfs::alloc
