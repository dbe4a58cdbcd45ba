// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/uuid.h"
#include "media/finding.h"
#include "media/layout.h"

namespace famfs::media {

struct Superblock {
  uint64_t version = kVersion;
  uint64_t log_len = kMinimumLogLength;
  uint64_t alloc_unit = kAllocationUnit;
  uint32_t omf_major = kOmfMajor;
  uint32_t omf_minor = kOmfMinor;
  base::Uuid fs_uuid;
  base::Uuid device_uuid;
  base::Uuid system_uuid;  // of the host that is the master
  uint64_t device_size = 0;
  std::string device_name;  // as given to mkfs, at most 64 bytes; informational

  friend bool operator==(const Superblock&, const Superblock&) = default;
};

// The first block of a device that was added to a file system (ADD_DAXDEV), of our own making: laid
// out as a superblock whose log_offset and log_len are 0, with SECONDARY in sb_flags. The devices
// of a file system have its fs uuid; each has a device uuid of its own, by which the log names it.
struct SecondaryBlock {
  uint64_t alloc_unit = kAllocationUnit;
  base::Uuid fs_uuid{};
  base::Uuid device_uuid{};
  base::Uuid system_uuid{};
  uint64_t device_size = 0;
  std::string device_name{};  // as in Superblock

  friend bool operator==(const SecondaryBlock&, const SecondaryBlock&) = default;
};

std::array<std::byte, kSuperblockSize> encode(const SecondaryBlock& block);
// Total over all input, as decode_superblock().
Decoded<SecondaryBlock> decode_secondary(std::span<const std::byte> bytes, uint64_t device_size);

// Byte-exact image of a superblock; a longer name is cut to 64 bytes.
std::array<std::byte, kSuperblockSize> encode(const Superblock& superblock);

// Total over all input: `bytes` may be any kSuperblockSize bytes (fewer is a finding).
// `device_size` is what the device really has.
Decoded<Superblock> decode_superblock(std::span<const std::byte> bytes, uint64_t device_size);

// Whether the bytes claim to be a famfs superblock at all (magic only).
bool has_superblock_magic(std::span<const std::byte> bytes) noexcept;

// Whether the bytes (at least 64: one cache line) still belong to the file system `fs_uuid`.
// Magic and fs uuid share the first line, so one line's content answers it.
bool is_same_file_system(std::span<const std::byte> bytes, const base::Uuid& fs_uuid) noexcept;

}  // namespace famfs::media
