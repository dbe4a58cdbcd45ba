// SPDX-License-Identifier: Apache-2.0
#include "media/superblock.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/bytes.h"
#include "base/crc32.h"

namespace famfs::media {
namespace {

constexpr size_t kMagic = 0;
constexpr size_t kVersionField = 8;
constexpr size_t kLogOffsetField = 16;
constexpr size_t kLogLen = 24;
constexpr size_t kAllocUnit = 32;
constexpr size_t kOmfMajorField = 40;
constexpr size_t kOmfMinorField = 44;
constexpr size_t kFsUuid = 48;
constexpr size_t kDeviceUuid = 64;
constexpr size_t kSystemUuid = 80;
constexpr size_t kCrc = 96;  // also the length it covers
constexpr size_t kFlags = 104;
constexpr size_t kDeviceSize = 112;
constexpr size_t kDeviceName = 136;

constexpr uint32_t kSecondaryFlag = 2;

base::Uuid load_uuid(std::span<const std::byte> bytes, size_t offset) {
  base::Uuid uuid;
  std::memcpy(uuid.bytes.data(), bytes.subspan(offset, 16).data(), 16);
  return uuid;
}

void store_uuid(std::span<std::byte> bytes, size_t offset, const base::Uuid& uuid) {
  std::memcpy(bytes.subspan(offset, 16).data(), uuid.bytes.data(), 16);
}

Finding finding(std::string field, std::string found, std::string allowed) {
  return {Severity::kDamage, Area::kSuperblock, 0,
          std::move(field),  std::move(found),  std::move(allowed)};
}

void check_fields(const Superblock& superblock, uint64_t log_offset, uint64_t device_size,
                  std::vector<Finding>& findings) {
  if (superblock.omf_major != kOmfMajor) {
    findings.push_back(
        finding("omf_ver_major", std::to_string(superblock.omf_major), std::to_string(kOmfMajor)));
  }
  if (log_offset != kLogOffset) {
    findings.push_back(
        finding("log_offset", std::to_string(log_offset), std::to_string(kLogOffset)));
  }
  if (superblock.alloc_unit != kAllocationUnit && superblock.alloc_unit != kSmallAllocationUnit) {
    findings.push_back(finding("alloc_unit", std::to_string(superblock.alloc_unit),
                               fmt::format("{} or {}", kSmallAllocationUnit, kAllocationUnit)));
  }
  // The CRC does not cover daxdev.size, so it is held against what the device really has.
  const uint64_t size = superblock.device_size;
  if (size > device_size || size <= kLogOffset + kMinimumLogLength) {
    findings.push_back(
        finding("daxdev.size", std::to_string(size),
                fmt::format("more than {} (the smallest log's end) up to {} (what the device has)",
                            kLogOffset + kMinimumLogLength, device_size)));
    return;
  }
  if (!std::has_single_bit(superblock.log_len) || superblock.log_len < kMinimumLogLength ||
      superblock.log_len > size - kLogOffset) {
    findings.push_back(
        finding("log_len", std::to_string(superblock.log_len),
                fmt::format("a power of two from {} that ends within the device's {}",
                            kMinimumLogLength, size)));
  }
}

// Both kinds of first block.
std::array<std::byte, kSuperblockSize> encode(const Superblock& superblock, uint64_t log_offset,
                                              uint32_t flags) {
  std::array<std::byte, kSuperblockSize> out{};
  const std::span<std::byte> bytes(out);
  base::store<uint64_t>(bytes, kMagic, kSuperblockMagic);
  base::store<uint64_t>(bytes, kVersionField, superblock.version);
  base::store<uint64_t>(bytes, kLogOffsetField, log_offset);
  base::store<uint64_t>(bytes, kLogLen, superblock.log_len);
  base::store<uint64_t>(bytes, kAllocUnit, superblock.alloc_unit);
  base::store<uint32_t>(bytes, kOmfMajorField, superblock.omf_major);
  base::store<uint32_t>(bytes, kOmfMinorField, superblock.omf_minor);
  store_uuid(bytes, kFsUuid, superblock.fs_uuid);
  store_uuid(bytes, kDeviceUuid, superblock.device_uuid);
  store_uuid(bytes, kSystemUuid, superblock.system_uuid);
  base::store<uint64_t>(bytes, kCrc, base::crc32(bytes.first(kCrc)));
  base::store<uint32_t>(bytes, kFlags, flags);
  base::store<uint64_t>(bytes, kDeviceSize, superblock.device_size);
  const size_t length = std::min<size_t>(superblock.device_name.size(), kDeviceNameSize);
  std::memcpy(bytes.subspan(kDeviceName).data(), superblock.device_name.data(), length);
  return out;
}

// Length, magic, version and CRC; true if the fields can be believed.
bool check_envelope(std::span<const std::byte> bytes, std::vector<Finding>& findings) {
  if (bytes.size() < kSuperblockSize) {
    findings.push_back(finding("length", fmt::format("{} bytes", bytes.size()),
                               fmt::format("{} bytes", kSuperblockSize)));
    return false;
  }
  const auto magic = base::load<uint64_t>(bytes, kMagic);
  if (magic != kSuperblockMagic) {
    findings.push_back(
        finding("magic", fmt::format("{:#x}", magic), fmt::format("{:#x}", kSuperblockMagic)));
    return false;
  }
  // Another version may lay out everything after it differently, the CRC included.
  const auto version = base::load<uint64_t>(bytes, kVersionField);
  if (version < kOldestVersion || version > kVersion) {
    findings.push_back(finding("version", std::to_string(version),
                               fmt::format("{} to {}", kOldestVersion, kVersion)));
    return false;
  }
  const auto crc = base::load<uint64_t>(bytes, kCrc);
  const uint64_t computed = base::crc32(bytes.first(kCrc));
  if (crc != computed) {
    findings.push_back(finding("crc", fmt::format("{:#x}", crc), fmt::format("{:#x}", computed)));
    return false;
  }
  return true;
}

// Of a block that has passed check_envelope().
Superblock load_fields(std::span<const std::byte> bytes) {
  Superblock superblock;
  superblock.version = base::load<uint64_t>(bytes, kVersionField);
  superblock.log_len = base::load<uint64_t>(bytes, kLogLen);
  superblock.alloc_unit = base::load<uint64_t>(bytes, kAllocUnit);
  superblock.omf_major = base::load<uint32_t>(bytes, kOmfMajorField);
  superblock.omf_minor = base::load<uint32_t>(bytes, kOmfMinorField);
  superblock.fs_uuid = load_uuid(bytes, kFsUuid);
  superblock.device_uuid = load_uuid(bytes, kDeviceUuid);
  superblock.system_uuid = load_uuid(bytes, kSystemUuid);
  superblock.device_size = base::load<uint64_t>(bytes, kDeviceSize);
  const auto* const name = reinterpret_cast<const char*>(bytes.data()) + kDeviceName;
  superblock.device_name.assign(name, ::strnlen(name, kDeviceNameSize));
  return superblock;
}

// The CRC covers that there is no log, the flag says why: old media may have any bytes there.
bool says_secondary(std::span<const std::byte> bytes) {
  return base::load<uint64_t>(bytes, kLogOffsetField) == 0 &&
         base::load<uint64_t>(bytes, kLogLen) == 0 &&
         (base::load<uint32_t>(bytes, kFlags) & kSecondaryFlag) != 0;
}

}  // namespace

std::array<std::byte, kSuperblockSize> encode(const Superblock& superblock) {
  return encode(superblock, kLogOffset, 0);
}

std::array<std::byte, kSuperblockSize> encode(const SecondaryBlock& block) {
  Superblock superblock;
  superblock.log_len = 0;
  superblock.alloc_unit = block.alloc_unit;
  superblock.fs_uuid = block.fs_uuid;
  superblock.device_uuid = block.device_uuid;
  superblock.system_uuid = block.system_uuid;
  superblock.device_size = block.device_size;
  superblock.device_name = block.device_name;
  return encode(superblock, 0, kSecondaryFlag);
}

Decoded<Superblock> decode_superblock(std::span<const std::byte> bytes, uint64_t device_size) {
  Decoded<Superblock> result;
  if (!check_envelope(bytes, result.findings)) return result;
  Superblock superblock = load_fields(bytes);
  if (says_secondary(bytes)) {
    result.findings.push_back(
        finding("sb_flags",
                fmt::format("SECONDARY (a further device of the file system {})",
                            superblock.fs_uuid.to_string()),
                "none (the first device of a file system, which is the one to name)"));
    return result;
  }
  check_fields(superblock, base::load<uint64_t>(bytes, kLogOffsetField), device_size,
               result.findings);
  if (result.findings.empty()) result.value = std::move(superblock);
  return result;
}

Decoded<SecondaryBlock> decode_secondary(std::span<const std::byte> bytes, uint64_t device_size) {
  Decoded<SecondaryBlock> result;
  if (!check_envelope(bytes, result.findings)) return result;
  if (!says_secondary(bytes)) {
    result.findings.push_back(finding("sb_flags", "the first device of a file system",
                                      "SECONDARY, with log_offset and log_len 0"));
    return result;
  }
  Superblock fields = load_fields(bytes);
  if (fields.device_size > device_size || fields.device_size < kMinimumSecondarySize) {
    result.findings.push_back(
        finding("daxdev.size", std::to_string(fields.device_size),
                fmt::format("{} to {} (what the device has)", kMinimumSecondarySize, device_size)));
    return result;
  }
  result.value =
      SecondaryBlock{fields.alloc_unit,  fields.fs_uuid,     fields.device_uuid,
                     fields.system_uuid, fields.device_size, std::move(fields.device_name)};
  return result;
}

bool has_superblock_magic(std::span<const std::byte> bytes) noexcept {
  return bytes.size() >= sizeof(uint64_t) &&
         base::load<uint64_t>(bytes, kMagic) == kSuperblockMagic;
}

bool is_same_file_system(std::span<const std::byte> bytes, const base::Uuid& fs_uuid) noexcept {
  return bytes.size() >= kFsUuid + 16 && has_superblock_magic(bytes) &&
         load_uuid(bytes, kFsUuid) == fs_uuid;
}

}  // namespace famfs::media
