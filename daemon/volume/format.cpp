// SPDX-License-Identifier: Apache-2.0
#include "volume/format.h"

#include <bit>
#include <string>

#include "base/error.h"
#include "log/reader.h"
#include "log/writer.h"
#include "memory/shared_memory.h"

namespace famfs::volume {
namespace {

constexpr uint64_t kMagicLength = sizeof(uint64_t);

void check_options(const memory::SharedMemory& memory, const FormatOptions& options) {
  const uint64_t log_len = options.log_len;
  if (!memory.writable()) {
    throw base::Error(EROFS, "{} is opened read-only", memory.name());
  }
  if (!std::has_single_bit(log_len) || log_len < media::kMinimumLogLength) {
    throw base::Error(EINVAL, "log length is {}; allowed: a power of two from {}", log_len,
                      media::kMinimumLogLength);
  }
  if (options.alloc_unit != media::kAllocationUnit &&
      options.alloc_unit != media::kSmallAllocationUnit) {
    throw base::Error(EINVAL, "allocation unit is {}; allowed: {} or {}", options.alloc_unit,
                      media::kSmallAllocationUnit, media::kAllocationUnit);
  }
  if (memory.size() < media::kMinimumDeviceSize) {
    throw base::Error(ENOSPC, "{} has {} bytes; a famfs needs {} or more", memory.name(),
                      memory.size(), media::kMinimumDeviceSize);
  }
  // At least one file must fit behind the log.
  if (log_len > memory.size() - media::kLogOffset - media::kAllocationUnit) {
    throw base::Error(ENOSPC, "{} has {} bytes, too few for a log of {} and a file", memory.name(),
                      memory.size(), log_len);
  }
}

void refuse_existing(memory::SharedMemory& memory) {
  const auto bytes = memory.acquire(0, media::kSuperblockSize);
  if (!media::has_superblock_magic(bytes)) return;
  const auto decoded = media::decode_superblock(bytes, memory.size());
  const auto secondary = media::decode_secondary(bytes, memory.size());
  const std::string whose =
      decoded.value ? fmt::format("file system {} of host {}", decoded.value->fs_uuid.to_string(),
                                  decoded.value->system_uuid.to_string())
      : secondary.value ? fmt::format("as a further device of file system {} of host {}",
                                      secondary.value->fs_uuid.to_string(),
                                      secondary.value->system_uuid.to_string())
                        : fmt::format("damaged: {}", media::to_string(decoded.findings.front()));
  throw base::Error(EEXIST, "{} has a famfs already ({}); --force replaces it", memory.name(),
                    whose);
}

void check_device(const memory::SharedMemory& memory) {
  if (!memory.writable()) throw base::Error(EROFS, "{} is opened read-only", memory.name());
  if (memory.size() < media::kMinimumSecondarySize) {
    throw base::Error(ENOSPC, "{} has {} bytes; a further device needs {} or more", memory.name(),
                      memory.size(), media::kMinimumSecondarySize);
  }
}

// Other hosts that follow this file system see that it is gone before anything else changes.
void retire_superblock(memory::SharedMemory& memory) {
  memory.store_word(0, media::kSuperblockKilled);
  memory.publish(0, kMagicLength);
}

void write_superblock(memory::SharedMemory& memory, std::span<const std::byte> all) {
  // The line with the magic goes last: whoever sees the magic sees the rest.
  memory.store(memory::kCacheLine, all.subspan(memory::kCacheLine));
  memory.publish(memory::kCacheLine, all.size() - memory::kCacheLine);
  memory.store(kMagicLength, all.subspan(kMagicLength, memory::kCacheLine - kMagicLength));
  memory.store_word(0, media::kSuperblockMagic);
  memory.publish(0, memory::kCacheLine);
}

// A fence orders what one device holds, not two that share an interleaved window: a log that was
// loaded from memory is there before the superblock, wherever that lies.
void require_log(memory::SharedMemory& memory, const media::Superblock& superblock,
                 std::span<const media::EntryBody> entries) {
  log::Reader reader(memory, superblock);
  const auto header = reader.read_header();
  if (header.value && header.value->next_index == entries.size() &&
      (entries.empty() || reader.holds(0, entries) == entries.size())) {
    return;
  }
  throw base::Error(EIO,
                    "{}: the log that was just written is not what is read back, so there is no "
                    "file system; another host writes to this device, or the memory has failed",
                    memory.name());
}

}  // namespace

media::Superblock format(memory::SharedMemory& memory, const FormatOptions& options) {
  check_options(memory, options);
  memory.reach(media::file_space_offset(options.log_len));
  if (!options.force) refuse_existing(memory);
  if (options.devices.size() >= media::kMaxDevices) {
    throw base::Error(ENOSPC, "{} devices; at most {} are allowed", options.devices.size() + 1,
                      media::kMaxDevices);
  }
  for (memory::SharedMemory* device : options.devices) {
    check_device(*device);
    device->reach(media::kSuperblockSize);
    if (!options.force) refuse_existing(*device);
  }
  // What is not overwritten below must not be a stale copy of another host's lines.
  memory.acquire(0, media::kSuperblockSize);

  media::Superblock superblock;
  superblock.log_len = options.log_len;
  superblock.alloc_unit = options.alloc_unit;
  superblock.fs_uuid = base::Uuid::random();
  superblock.device_uuid = base::Uuid::random();
  superblock.system_uuid = options.system_uuid;
  superblock.device_size = memory.size();
  superblock.device_name = memory.name();

  retire_superblock(memory);
  log::Writer writer(memory, superblock);
  media::LogHeader header = writer.create();
  std::vector<media::EntryBody> entries;
  entries.reserve(options.devices.size());
  for (memory::SharedMemory* device : options.devices) {
    entries.emplace_back(
        format_device(*device, superblock, static_cast<uint32_t>(entries.size() + 1), true));
  }
  if (!entries.empty()) writer.set_next(writer.store_entries(header, entries));
  require_log(memory, superblock, entries);
  // Whoever sees the file system sees all its devices.
  write_superblock(memory, media::encode(superblock));
  return superblock;
}

media::DaxDeviceEntry format_device(memory::SharedMemory& memory,
                                    const media::Superblock& superblock, uint32_t index,
                                    bool force) {
  check_device(memory);
  memory.reach(media::kSuperblockSize);
  if (!force) refuse_existing(memory);
  memory.acquire(0, media::kSuperblockSize);
  const media::SecondaryBlock block{.alloc_unit = superblock.alloc_unit,
                                    .fs_uuid = superblock.fs_uuid,
                                    .device_uuid = base::Uuid::random(),
                                    .system_uuid = superblock.system_uuid,
                                    .device_size = memory.size(),
                                    .device_name = memory.name()};
  retire_superblock(memory);
  write_superblock(memory, media::encode(block));
  return {block.device_size, block.device_uuid, index};
}

bool kill(memory::SharedMemory& memory, bool force) {
  if (!force) {
    throw base::Error(EINVAL, "killing the famfs on {} needs --force", memory.name());
  }
  if (!memory.writable()) throw base::Error(EROFS, "{} is opened read-only", memory.name());
  memory.reach(memory::kCacheLine);
  const bool existed = media::has_superblock_magic(memory.acquire(0, memory::kCacheLine));
  if (existed) retire_superblock(memory);
  return existed;
}

}  // namespace famfs::volume
