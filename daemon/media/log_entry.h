// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/uuid.h"
#include "media/finding.h"
#include "media/layout.h"
#include "media/superblock.h"

namespace famfs::media {

// A run of bytes of one device.
struct Extent {
  uint64_t device_index = 0;  // 0 is the device with superblock and log
  uint64_t offset = 0;
  uint64_t length = 0;

  friend bool operator==(const Extent&, const Extent&) = default;
};

// Where a file's bytes are (its fmap). Simple (chunk_size 0): the extents one after the other.
// Interleaved: the extents are the strips of one interleaved extent, and chunk c of the file is row
// c / strips of strip c % strips.
struct FileMap {
  uint64_t chunk_size = 0;  // bytes, power of two; 0 for simple
  std::vector<Extent> extents;

  bool interleaved() const noexcept { return chunk_size != 0; }
  friend bool operator==(const FileMap&, const FileMap&) = default;
};

struct FileEntry {
  std::string path{};  // relative to the mount point, see path.h
  uint64_t size = 0;   // bytes, > 0
  uint32_t flags = kFlagAllHostsWrite;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t mode = 0;  // permission bits only
  FileMap map{};

  friend bool operator==(const FileEntry&, const FileEntry&) = default;
};

struct DirectoryEntry {
  std::string path{};
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t mode = 0;

  friend bool operator==(const DirectoryEntry&, const DirectoryEntry&) = default;
};

// ADD_DAXDEV (version 48): one more device, named by its uuid and never by a path. Its index is the
// number of devices before it.
struct DaxDeviceEntry {
  uint64_t size = 0;  // bytes
  base::Uuid uuid{};
  uint32_t index = 0;

  friend bool operator==(const DaxDeviceEntry&, const DaxDeviceEntry&) = default;
};

// A type we do not know (2, or above 3): skipped, with a notice.
struct UnknownEntry {
  uint32_t type = 0;

  friend bool operator==(const UnknownEntry&, const UnknownEntry&) = default;
};

using EntryBody = std::variant<FileEntry, DirectoryEntry, DaxDeviceEntry, UnknownEntry>;

struct LogEntry {
  uint64_t index = 0;  // place in the log, equal to its seqnum
  EntryBody body;

  friend bool operator==(const LogEntry&, const LogEntry&) = default;
};

// Byte-exact image with CRC. The body must be valid (validate() finds nothing): longer paths or
// more extents than the format holds throw base::Error(EINVAL). UnknownEntry encodes an empty
// payload.
std::array<std::byte, kLogEntrySize> encode(const LogEntry& entry);

// Whether seqnum and CRC are right: somebody wrote entry `index` completely.
bool is_intact(std::span<const std::byte> bytes, uint64_t index);

// Whether entry `index`, if it is what the rest of `bytes` (kLogEntrySize) says, cannot have zeros
// only in [begin, end). Total over all input.
bool needs_bytes(std::span<const std::byte> bytes, uint64_t index, uint64_t begin, uint64_t end);

// Total over all input. Checks seqnum, CRC and every field against the format and the superblock's
// limits (device size, log length, allocation unit). What several entries say together (duplicate
// paths, overlapping extents) is for tree/ and alloc/.
Decoded<LogEntry> decode_log_entry(std::span<const std::byte> bytes, uint64_t index,
                                   const Superblock& limits);

// The same checks on a body that is to be appended as entry `index`.
std::vector<Finding> validate(const EntryBody& body, uint64_t index, const Superblock& limits);

}  // namespace famfs::media
