// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/crc32.h"
#include "base/mapping.h"
#include "media/layout.h"
#include "testing/recording_memory.h"
#include "volume/format.h"
#include "volume/volume.h"

namespace famfs::testing {

inline constexpr uint64_t kMiB = 1024ull * 1024;

inline base::Uuid master_uuid() {
  return *base::Uuid::parse("11111111-2222-3333-4444-555555555555");
}
inline base::Uuid client_uuid() {
  return *base::Uuid::parse("99999999-2222-3333-4444-555555555555");
}

inline volume::CreateRequest a_directory(std::string path) {
  return {.path = std::move(path), .directory = true, .mode = 0755};
}
inline volume::CreateRequest a_file(std::string path, uint64_t size) {
  return {.path = std::move(path), .mode = 0644, .size = size};
}

// A formatted device in anonymous memory that several hosts can open. The log holds
//   0 directory d, 1 file d/f1 (4 MiB at 10 MiB), 2 file d/f2 (2 MiB at 14 MiB),
//   3 file striped (3 strips of 4 MiB in chunks of 2 MiB).
class ExampleVolume {
 public:
  static constexpr uint64_t kEntries = 4;

  ExampleVolume() {
    RecordingMemory memory(bytes_);
    superblock_ = volume::format(memory, {.system_uuid = master_uuid()});
    auto striped = a_file("striped", 9'000'001);
    striped.interleave = alloc::Interleave{4, 3, 2 * kMiB};
    const std::vector<volume::CreateRequest> requests = {
        a_directory("d"), a_file("d/f1", 3'000'000), a_file("d/f2", 21), striped};
    open(master_uuid())->create(requests);
  }

  // The host's volume; `memory` is set to what it was opened over.
  std::unique_ptr<volume::Volume> open(const base::Uuid& host, RecordingMemory** memory = nullptr) {
    auto opened = std::make_unique<RecordingMemory>(bytes_);
    if (memory != nullptr) *memory = opened.get();
    return volume::Volume::open(std::move(opened), {.system_uuid = host});
  }

  std::shared_ptr<base::Mapping> bytes() { return bytes_; }
  std::span<std::byte> raw(uint64_t offset, uint64_t length) {
    return {bytes_->data() + offset, length};
  }
  const media::Superblock& superblock() const { return superblock_; }

  // Stores an integer into the superblock, the log header or an entry, and sets the CRC right.
  template <typename T>
  void patch_superblock(size_t offset, T value) {
    base::store<T>(raw(0, media::kSuperblockSize), offset, value);
    base::store<uint64_t>(raw(0, media::kSuperblockSize), 96, base::crc32(raw(0, 96)));
  }
  // As when another file system was made in its place: its uuid, at 48, is another one.
  void replace() {
    patch_superblock(48, static_cast<uint8_t>(~std::to_integer<uint8_t>(raw(48, 1)[0])));
  }
  template <typename T>
  void patch_header(size_t offset, T value) {
    const auto header = raw(media::kLogOffset, media::kLogHeaderSize);
    base::store<T>(header, offset, value);
    base::store<uint64_t>(header, 24, base::crc32(header.first(24)));
  }
  template <typename T>
  void patch_entry(uint64_t index, size_t offset, T value) {
    base::store<T>(entry(index), offset, value);
    seal(index);
  }
  void patch_path(uint64_t index, std::string_view path) {
    std::memset(entry(index).subspan(40, 80).data(), 0, 80);
    std::memcpy(entry(index).subspan(40, 80).data(), path.data(), path.size());
    seal(index);
  }
  std::span<std::byte> entry(uint64_t index) {
    return raw(media::log_entry_offset(index), media::kLogEntrySize);
  }

 private:
  void seal(uint64_t index) {
    base::store<uint64_t>(entry(index), 536, base::crc32(entry(index).first(536)));
  }

  std::shared_ptr<base::Mapping> bytes_ =
      std::make_shared<base::Mapping>(base::Mapping::anonymous(media::kMinimumDeviceSize));
  media::Superblock superblock_;
};

}  // namespace famfs::testing
