// SPDX-License-Identifier: Apache-2.0
#include "volume/format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "testing/example_volume.h"
#include "testing/temporary_directory.h"
#include "volume/check.h"

namespace famfs::volume {
namespace {

using ::famfs::testing::client_uuid;
using ::famfs::testing::error_code_of;
using ::famfs::testing::ExampleVolume;
using ::famfs::testing::kMiB;
using ::famfs::testing::master_uuid;
using ::famfs::testing::RecordingMemory;
using ::testing::ElementsAre;
using Event = RecordingMemory::Event;
using Kind = RecordingMemory::Kind;

TEST(Format, MakesACleanEmptyFileSystem) {
  RecordingMemory memory;
  const auto superblock = format(memory, {.system_uuid = master_uuid()});
  EXPECT_EQ(load_superblock(memory), superblock);
  EXPECT_EQ(superblock.version, 48U);
  EXPECT_EQ(superblock.device_size, memory.size());
  EXPECT_FALSE(superblock.fs_uuid.is_nil());
  const auto report = check(memory, {.system_uuid = master_uuid()});
  EXPECT_TRUE(report.clean());
  EXPECT_EQ(report.role, Role::kMaster);
  EXPECT_EQ(report.used, 10 * kMiB);
  EXPECT_EQ(report.entries_capacity, 15420U);
}

TEST(Format, LongerLogs) {
  RecordingMemory memory;
  format(memory, {.log_len = 64 * kMiB, .system_uuid = master_uuid()});
  const auto report = check(memory, {});
  EXPECT_TRUE(report.clean());
  EXPECT_EQ(report.entries_capacity, 123361U);
  EXPECT_EQ(report.used, 66 * kMiB);
}

TEST(Format, SuperblockWhoseLinesArriveOneByOne) {
  RecordingMemory memory;
  const auto superblock = format(memory, {.system_uuid = master_uuid()});
  std::byte& late = memory.raw(100, 1).front();
  const std::byte arrived = late;
  late = ~arrived;
  int loads = 0;
  memory.on_event = [&](const Event& event) {
    if (event.kind == Kind::kInvalidate && ++loads == 2) late = arrived;
  };
  EXPECT_EQ(load_superblock(memory), superblock);
  late = ~arrived;
  EXPECT_EQ(error_code_of([&] { load_superblock(memory); }), EUCLEAN);
}

TEST(Format, SmallAllocationUnit) {
  const auto bytes = std::make_shared<base::Mapping>(base::Mapping::anonymous(4096 * kMiB));
  RecordingMemory memory(bytes);
  format(memory, {.alloc_unit = 4096, .system_uuid = master_uuid()});
  const auto volume =
      Volume::open(std::make_unique<RecordingMemory>(bytes), {.system_uuid = master_uuid()});
  volume->create(std::vector<CreateRequest>{{.path = "a", .mode = 0644, .size = 1},
                                            {.path = "b", .mode = 0644, .size = 4097}});
  EXPECT_EQ(volume->space().alloc_unit, 4096U);
  EXPECT_EQ(volume->space().used, 10 * kMiB + 3 * 4096ULL);
  EXPECT_TRUE(check(memory, {}).clean());
  EXPECT_EQ(error_code_of([&] { format(memory, {.alloc_unit = 8192, .force = true}); }), EINVAL);
}

// Old magic gone and fenced; log and fence; superblock without its first line and fence; the line
// with the magic and fence.
TEST(Format, OrderIsKillLogSuperblock) {
  ExampleVolume example;
  RecordingMemory memory(example.bytes());
  std::vector<bool> magic;
  std::vector<bool> log_empty;
  memory.on_event = [&](const Event& event) {
    if (event.kind != Kind::kStoreFence) return;
    magic.push_back(media::has_superblock_magic(memory.view(0, 64)));
    log_empty.push_back(base::load<uint64_t>(memory.view(media::kLogOffset, 48), 40) == 0);
  };
  format(memory, {.force = true, .system_uuid = master_uuid()});
  EXPECT_THAT(
      memory.events,
      ElementsAre(Event{Kind::kInvalidate, 0, 256}, Event{Kind::kLoadFence},
                  Event{Kind::kWriteBack, 0, 64}, Event{Kind::kStoreFence},
                  Event{Kind::kWriteBack, media::kLogOffset, 8 * kMiB}, Event{Kind::kStoreFence},
                  Event{Kind::kInvalidate, media::kLogOffset, 64}, Event{Kind::kLoadFence},
                  Event{Kind::kWriteBack, 64, 192}, Event{Kind::kStoreFence},
                  Event{Kind::kWriteBack, 0, 64}, Event{Kind::kStoreFence}));
  EXPECT_THAT(magic, ElementsAre(false, false, false, true));
  EXPECT_THAT(log_empty, ElementsAre(false, true, true, true));
}

TEST(Format, LogThatIsNotInMemoryIsNotAnnounced) {
  for (const uint64_t damaged : {media::kLogOffset, media::kLogOffset + media::kNextIndexOffset}) {
    RecordingMemory memory;
    bool written_back = false;
    memory.on_event = [&](const Event& event) {
      // As if one device of an interleaved window had not taken what it was sent.
      if (event.kind == Kind::kInvalidate && written_back)
        memory.raw(damaged, 1)[0] ^= std::byte{1};
      written_back |= event.kind == Kind::kWriteBack && event.offset == media::kLogOffset;
    };
    EXPECT_EQ(error_code_of([&] { format(memory, {.system_uuid = master_uuid()}); }), EIO);
    EXPECT_FALSE(media::has_superblock_magic(memory.raw(0, memory::kCacheLine)));
  }
}

TEST(Format, RefusesAnExistingFileSystemWithoutForce) {
  ExampleVolume example;
  RecordingMemory memory(example.bytes());
  try {
    format(memory, {.system_uuid = client_uuid()});
    FAIL();
  } catch (const base::Error& error) {
    EXPECT_EQ(error.code(), EEXIST);
    EXPECT_THAT(error.message(), ::testing::HasSubstr(master_uuid().to_string()));
  }
  EXPECT_EQ(load_superblock(memory), example.superblock());
  const auto taken_over = format(memory, {.force = true, .system_uuid = client_uuid()});
  EXPECT_NE(taken_over.fs_uuid, example.superblock().fs_uuid);
  EXPECT_EQ(example.open(client_uuid())->role(), Role::kMaster);
}

TEST(Format, RefusesADamagedFileSystemWithoutForce) {
  ExampleVolume example;
  example.raw(100, 1)[0] ^= std::byte{1};
  RecordingMemory memory(example.bytes());
  EXPECT_EQ(error_code_of([&] { format(memory, {}); }), EEXIST);
}

TEST(Format, RefusesBadParametersBeforeStoring) {
  const auto code = [](RecordingMemory& memory, uint64_t log_len) {
    const int result = error_code_of([&] { format(memory, {.log_len = log_len, .force = true}); });
    EXPECT_TRUE(memory.events.empty());
    return result;
  };
  RecordingMemory memory;
  EXPECT_EQ(code(memory, 4 * kMiB), EINVAL);
  EXPECT_EQ(code(memory, 9 * kMiB), EINVAL);
  EXPECT_EQ(code(memory, 0), EINVAL);
  EXPECT_EQ(code(memory, uint64_t{4} << 30), ENOSPC);
  EXPECT_EQ(code(memory, uint64_t{1} << 63), ENOSPC);
  RecordingMemory small(media::kMinimumDeviceSize - 4096);
  EXPECT_EQ(code(small, 8 * kMiB), ENOSPC);
  RecordingMemory read_only(media::kMinimumDeviceSize, false);
  EXPECT_EQ(code(read_only, 8 * kMiB), EROFS);
}

TEST(Kill, ClearsTheMagicAndNothingElse) {
  ExampleVolume example;
  RecordingMemory memory(example.bytes());
  EXPECT_EQ(error_code_of([&] { kill(memory, false); }), EINVAL);
  const std::vector<std::byte> before(example.raw(0, 256).begin(), example.raw(0, 256).end());
  EXPECT_TRUE(kill(memory, true));
  EXPECT_EQ(memory.events.back(), (Event{Kind::kStoreFence}));
  EXPECT_EQ(error_code_of([&] { example.open(master_uuid()); }), ENODATA);
  EXPECT_TRUE(std::equal(before.begin() + 8, before.end(), example.raw(8, 248).begin()));
  EXPECT_FALSE(kill(memory, true));
  // mkfs needs no force afterwards.
  format(memory, {.system_uuid = master_uuid()});
}

}  // namespace
}  // namespace famfs::volume
