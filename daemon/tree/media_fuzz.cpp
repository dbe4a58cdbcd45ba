// SPDX-License-Identifier: Apache-2.0
// Decoders of superblock, log header and log entry on arbitrary bytes. A checksum would stop almost
// every input, so the entry is also decoded with seqnum and CRC set right; what decodes must encode
// to bytes that decode to the same.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <vector>

#include "base/bytes.h"
#include "base/crc32.h"
#include "media/extent_check.h"
#include "media/log_entry.h"
#include "media/log_header.h"
#include "media/superblock.h"
#include "tree/fmap.h"

using namespace famfs;

namespace {

constexpr std::array<uint64_t, 2> kOtherDevices = {media::kMinimumDeviceSize, 1 << 30};

void require(bool holds) {
  if (!holds) std::abort();
}

template <typename T>
void seal(std::vector<std::byte>& bytes, size_t size, size_t crc_offset, size_t covered, T front) {
  bytes.resize(std::max(bytes.size(), size));
  base::store<T>(bytes, 0, front);
  base::store<uint64_t>(bytes, crc_offset, base::crc32(std::span(bytes).first(covered)));
}

void try_entry(std::span<const std::byte> bytes, const media::Superblock& limits) {
  const auto decoded = media::decode_log_entry(bytes, 3, limits);
  for (const auto& finding : decoded.findings) (void)media::to_string(finding);
  if (!decoded.value) {
    require(!decoded.findings.empty());
    return;
  }
  const auto again = media::decode_log_entry(media::encode(*decoded.value), 3, limits);
  require(again.value == decoded.value);
  const auto* file = std::get_if<media::FileEntry>(&decoded.value->body);
  if (file == nullptr) return;
  bool in_devices = true;
  media::check_devices(file->map, kOtherDevices, [&in_devices](auto&&...) { in_devices = false; });
  for (const uint64_t offset : {uint64_t{0}, file->size / 2, file->size - 1}) {
    const auto segment = tree::resolve(file->map, file->size, offset);
    require(segment && segment->length > 0);
    const uint64_t end = segment->device_offset + segment->length;
    require(end > segment->device_offset);
    // What is on other devices is held against them later, when they are known.
    if (segment->device_index == 0) {
      require(end <= limits.device_size);
    } else if (in_devices) {
      require(end <= kOtherDevices.at(segment->device_index - 1));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> input(reinterpret_cast<const std::byte*>(data), size);
  media::Superblock limits;
  limits.device_size = media::kMinimumDeviceSize;
  (void)media::decode_superblock(input, limits.device_size);
  (void)media::decode_log_header(input, limits.log_len);
  try_entry(input, limits);

  std::vector<std::byte> bytes(input.begin(), input.end());
  seal<uint64_t>(bytes, media::kLogEntrySize, 536, 536, 3);
  try_entry(bytes, limits);
  seal<uint64_t>(bytes, media::kLogHeaderSize, 24, 24, media::kLogMagic);
  (void)media::decode_log_header(bytes, limits.log_len);
  seal<uint64_t>(bytes, media::kSuperblockSize, 96, 96, media::kSuperblockMagic);
  const auto superblock = media::decode_superblock(bytes, limits.device_size);
  if (superblock.value) {
    require(media::decode_superblock(media::encode(*superblock.value), limits.device_size).value ==
            superblock.value);
  }
  return 0;
}
