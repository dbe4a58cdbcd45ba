// SPDX-License-Identifier: Apache-2.0
#include "media/extent_check.h"

#include <fmt/format.h>

#include <bit>
#include <string_view>

#include "base/checked.h"

namespace famfs::media {
namespace {

// Fields of extent `number` of a list; true if they are sound.
bool check_extent(const Extent& extent, std::string_view list, size_t number,
                  const Superblock& limits, const Complain& complain) {
  bool sound = true;
  const auto wrong = [&](const char* field, uint64_t found, std::string allowed) {
    complain(fmt::format("{}[{}]{}", list, number, field), std::to_string(found),
             std::move(allowed));
    sound = false;
  };
  if (extent.device_index >= kMaxDevices) {
    wrong(".devindex", extent.device_index, fmt::format("0 to {}", kMaxDevices - 1));
    return false;
  }
  const bool first = extent.device_index == 0;
  const uint64_t begin = first ? file_space_offset(limits.log_len) : kSecondaryFileSpace;
  // check_devices() knows the others.
  const uint64_t size =
      first ? limits.device_size : base::round_down(UINT64_MAX, limits.alloc_unit);
  if (extent.offset % limits.alloc_unit != 0) {
    wrong(".offset", extent.offset, fmt::format("a multiple of {}", limits.alloc_unit));
  } else if (extent.offset < begin || extent.offset >= size) {
    wrong(".offset", extent.offset,
          fmt::format("from {} (after the {}) to below {} (daxdev.size)", begin,
                      first ? "log" : "first block", size));
  }
  if (!sound) return false;
  const uint64_t room = size - extent.offset;
  if (extent.length == 0 || extent.length % limits.alloc_unit != 0 || extent.length > room) {
    wrong(".len", extent.length,
          fmt::format("a multiple of {} from {} to {} (daxdev.size {} less the offset)",
                      limits.alloc_unit, limits.alloc_unit, room, size));
  }
  return sound;
}

void check_simple(const FileMap& map, uint64_t size, const Superblock& limits,
                  const Complain& complain) {
  bool sound = true;
  uint64_t mapped = 0;  // at most 16 lengths within the device: saturates instead of wrapping
  for (size_t i = 0; i < map.extents.size(); ++i) {
    sound = check_extent(map.extents[i], "fmap.se", i, limits, complain) && sound;
    mapped = base::checked_add(mapped, map.extents[i].length).value_or(UINT64_MAX);
  }
  if (sound && size > mapped) {
    complain("size", std::to_string(size), fmt::format("1 to {}, what the extents hold", mapped));
  }
}

void check_interleaved(const FileMap& map, uint64_t size, const Superblock& limits,
                       const Complain& complain) {
  bool sound = true;
  if (!std::has_single_bit(map.chunk_size) || map.chunk_size % limits.alloc_unit != 0) {
    complain("fmap.ie[0].chunk_size", std::to_string(map.chunk_size),
             fmt::format("a power of two that is a multiple of {}", limits.alloc_unit));
    sound = false;
  }
  for (size_t i = 0; i < map.extents.size(); ++i) {
    sound = check_extent(map.extents[i], "fmap.ie[0].strips", i, limits, complain) && sound;
  }
  if (!sound) return;
  // Both factors are far below 2^32 chunks of a device, yet the product may be hostile.
  const auto row = base::checked_multiply(map.chunk_size, map.extents.size());
  const uint64_t rows = row ? base::divide_up(size, *row) : 1;
  const auto needed = base::checked_multiply(rows, map.chunk_size);
  for (size_t i = 0; i < map.extents.size(); ++i) {
    if (needed && map.extents[i].length >= *needed) continue;
    complain("size", std::to_string(size),
             fmt::format("what {} strips hold, of which strips[{}] has {} bytes",
                         map.extents.size(), i, map.extents[i].length));
    return;
  }
}

}  // namespace

void check_map(const FileMap& map, uint64_t size, const Superblock& limits,
               const Complain& complain) {
  const uint64_t most = map.interleaved() ? kMaxStrips : kMaxExtents;
  if (map.extents.empty() || map.extents.size() > most) {
    complain(map.interleaved() ? "fmap.ie[0].nstrips" : "fmap.nextents",
             std::to_string(map.extents.size()), fmt::format("1 to {}", most));
    return;
  }
  if (map.interleaved()) {
    check_interleaved(map, size, limits, complain);
  } else {
    check_simple(map, size, limits, complain);
  }
}

void check_devices(const FileMap& map, std::span<const uint64_t> sizes, const Complain& complain) {
  for (size_t i = 0; i < map.extents.size(); ++i) {
    const Extent& extent = map.extents[i];
    if (extent.device_index == 0) continue;
    const std::string name =
        fmt::format("{}[{}]", map.interleaved() ? "fmap.ie[0].strips" : "fmap.se", i);
    if (extent.device_index > sizes.size()) {
      complain(name + ".devindex", std::to_string(extent.device_index),
               sizes.empty() ? "0, the only device"
                             : fmt::format("0 to {}, the devices so far", sizes.size()));
      continue;
    }
    const uint64_t size = sizes[extent.device_index - 1];
    if (!base::range_within(extent.offset, extent.length, size)) {
      complain(name + ".len", std::to_string(extent.length),
               fmt::format("what device {} of {} bytes has from {} on", extent.device_index, size,
                           extent.offset));
    }
  }
}

}  // namespace famfs::media
