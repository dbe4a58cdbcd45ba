// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// The famfs on-media format, superblock versions 47 and 48 (identical layout; 48 is written).
// Sizes and offsets in bytes, integers little-endian, structures as x86-64 lays them out.
namespace famfs::media {

inline constexpr uint64_t kSuperblockMagic = 0x87b282ff;
inline constexpr uint64_t kSuperblockKilled = 0;
inline constexpr uint64_t kOldestVersion = 47;
inline constexpr uint64_t kVersion = 48;
inline constexpr uint32_t kOmfMajor = 2;
inline constexpr uint32_t kOmfMinor = 2;
inline constexpr uint64_t kSuperblockSize = 200;
inline constexpr uint64_t kDeviceNameSize = 64;

inline constexpr uint64_t kAllocationUnit = 2ull * 1024 * 1024;
inline constexpr uint64_t kSmallAllocationUnit = 4096;
inline constexpr uint64_t kMinimumDeviceSize = 4ull * 1024 * 1024 * 1024;
inline constexpr uint64_t kMinimumLogLength = 8ull * 1024 * 1024;
inline constexpr uint64_t kLogOffset = 2ull * 1024 * 1024;

// Devices of one file system, the primary one included.
inline constexpr uint32_t kMaxDevices = 24;
// Where file space begins on the others, which have no log.
inline constexpr uint64_t kSecondaryFileSpace = 2ull * 1024 * 1024;
inline constexpr uint64_t kMinimumSecondarySize = kSecondaryFileSpace + kAllocationUnit;

inline constexpr uint64_t kLogMagic = 0xbadcafef00d;
inline constexpr uint64_t kLogHeaderSize = 48;
inline constexpr uint64_t kNextSeqnumOffset = 32;  // in the log header
inline constexpr uint64_t kNextIndexOffset = 40;   // in the log header
inline constexpr uint64_t kLogEntrySize = 544;

inline constexpr uint64_t kPathFieldSize = 80;
inline constexpr uint64_t kMaxPath = kPathFieldSize - 1;  // of the whole relative path
inline constexpr uint32_t kMaxExtents = 16;
inline constexpr uint32_t kMaxStrips = 16;
inline constexpr uint32_t kMaxMode = 07777;
inline constexpr uint32_t kFlagAllHostsRead = 1;
inline constexpr uint32_t kFlagAllHostsWrite = 2;

// Number of entries a log of this length (at least kMinimumLogLength) holds.
constexpr uint64_t log_capacity(uint64_t log_len) noexcept {
  return (log_len - kLogHeaderSize) / kLogEntrySize;
}

// Offset of entry `index` on the device.
constexpr uint64_t log_entry_offset(uint64_t index) noexcept {
  return kLogOffset + kLogHeaderSize + index * kLogEntrySize;
}

// First byte after the log: where file space begins.
constexpr uint64_t file_space_offset(uint64_t log_len) noexcept { return kLogOffset + log_len; }

}  // namespace famfs::media
