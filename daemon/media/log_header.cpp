// SPDX-License-Identifier: Apache-2.0
#include "media/log_header.h"

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/crc32.h"

namespace famfs::media {
namespace {

constexpr size_t kMagic = 0;
constexpr size_t kLogLen = 8;
constexpr size_t kLastIndex = 16;
constexpr size_t kCrc = 24;  // also the length it covers

Finding finding(Severity severity, std::string field, std::string found, std::string allowed) {
  return {severity, Area::kLogHeader, 0, std::move(field), std::move(found), std::move(allowed)};
}

}  // namespace

std::array<std::byte, kLogHeaderSize> encode(const LogHeader& header) {
  std::array<std::byte, kLogHeaderSize> out{};
  const std::span<std::byte> bytes(out);
  base::store<uint64_t>(bytes, kMagic, kLogMagic);
  base::store<uint64_t>(bytes, kLogLen, header.log_len);
  base::store<uint64_t>(bytes, kLastIndex, header.last_index);
  base::store<uint64_t>(bytes, kCrc, base::crc32(bytes.first(kCrc)));
  base::store<uint64_t>(bytes, kNextSeqnumOffset, header.next_seqnum);
  base::store<uint64_t>(bytes, kNextIndexOffset, header.next_index);
  return out;
}

Decoded<LogHeader> decode_log_header(std::span<const std::byte> bytes, uint64_t log_len) {
  Decoded<LogHeader> result;
  const auto damage = [&](std::string field, std::string found, std::string allowed) {
    result.findings.push_back(
        finding(Severity::kDamage, std::move(field), std::move(found), std::move(allowed)));
  };
  if (bytes.size() < kLogHeaderSize) {
    damage("length", fmt::format("{} bytes", bytes.size()),
           fmt::format("{} bytes", kLogHeaderSize));
    return result;
  }
  const auto magic = base::load<uint64_t>(bytes, kMagic);
  if (magic != kLogMagic) {
    damage("magic", fmt::format("{:#x}", magic), fmt::format("{:#x}", kLogMagic));
    return result;
  }
  const auto crc = base::load<uint64_t>(bytes, kCrc);
  const uint64_t computed = base::crc32(bytes.first(kCrc));
  if (crc != computed) {
    damage("crc", fmt::format("{:#x}", crc), fmt::format("{:#x}", computed));
    return result;
  }
  LogHeader header;
  header.log_len = base::load<uint64_t>(bytes, kLogLen);
  header.last_index = base::load<uint64_t>(bytes, kLastIndex);
  header.next_seqnum = base::load<uint64_t>(bytes, kNextSeqnumOffset);
  header.next_index = base::load<uint64_t>(bytes, kNextIndexOffset);
  const uint64_t capacity = log_capacity(log_len);
  if (header.log_len != log_len) {
    damage("log_len", std::to_string(header.log_len),
           fmt::format("{} as the superblock says", log_len));
  }
  if (header.last_index != capacity - 1) {
    damage("last_index", std::to_string(header.last_index), std::to_string(capacity - 1));
  }
  if (header.next_index > capacity) {
    damage("next_index", std::to_string(header.next_index), fmt::format("0 to {}", capacity));
  }
  if (!result.findings.empty()) return result;
  if (header.next_seqnum != header.next_index) {
    result.findings.push_back(finding(Severity::kNotice, "next_seqnum",
                                      std::to_string(header.next_seqnum),
                                      fmt::format("{}, equal to next_index", header.next_index)));
  }
  result.value = header;
  return result;
}

}  // namespace famfs::media
