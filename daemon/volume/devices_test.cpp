// SPDX-License-Identifier: Apache-2.0
// Contract: a file system on several devices finds each by its uuid under whatever name it has on a
// host; what a missing one holds answers EIO with the reason, and everything else works.
#include "volume/devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>
#include <thread>

#include "testing/example_volume.h"
#include "testing/temporary_directory.h"
#include "volume/check.h"
#include "volume/format.h"

namespace famfs::volume {
namespace {

using ::famfs::testing::a_file;
using ::famfs::testing::client_uuid;
using ::famfs::testing::error_code_of;
using ::famfs::testing::kMiB;
using ::famfs::testing::master_uuid;
using ::famfs::testing::RecordingMemory;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Bytes = std::shared_ptr<base::Mapping>;

constexpr uint64_t kSize = 1024 * kMiB;

Bytes new_bytes(uint64_t size) {
  return std::make_shared<base::Mapping>(base::Mapping::anonymous(size));
}

// What one host has under which name.
using Names = std::map<std::string, Bytes>;

DeviceSource source(const Names& names) {
  return {.candidates =
              [&names] {
                std::vector<std::string> paths;
                for (const auto& [path, bytes] : names) paths.push_back(path);
                return paths;
              },
          .open =
              [&names](const std::string& path) {
                return std::make_unique<RecordingMemory>(names.at(path));
              },
          .claim = {}};
}

class DevicesTest : public ::testing::Test {
 protected:
  void make(const std::vector<Bytes>& further) {
    RecordingMemory first(first_);
    std::vector<std::unique_ptr<RecordingMemory>> memories;
    FormatOptions options{.system_uuid = master_uuid()};
    for (const Bytes& bytes : further) {
      memories.push_back(std::make_unique<RecordingMemory>(bytes));
      options.devices.push_back(memories.back().get());
    }
    format(first, options);
  }
  std::unique_ptr<Volume> open(const base::Uuid& host, const Names& names) {
    return Volume::open(std::make_unique<RecordingMemory>(first_),
                        {.system_uuid = host, .devices = source(names)});
  }
  CheckReport fsck(const Names& names) {
    RecordingMemory memory(first_);
    return check(memory, {.devices = source(names)});
  }
  static std::string reason_of(Volume& volume, uint64_t device) {
    try {
      volume.device(device);
    } catch (const base::Error& error) {
      EXPECT_EQ(error.code(), EIO);
      return error.message();
    }
    return "";
  }
  static CreateRequest striped(std::string path) {
    CreateRequest request = a_file(std::move(path), 10 * kMiB);
    request.interleave = alloc::Interleave{2, 2, 2 * kMiB};
    return request;
  }

  const Names none_;
  Bytes first_ = new_bytes(media::kMinimumDeviceSize);
  Bytes second_ = new_bytes(kSize);
  Bytes third_ = new_bytes(2 * kSize);
};

TEST_F(DevicesTest, EveryHostFindsThemUnderItsOwnNames) {
  make({second_, third_});
  const Names here{{"/dev/a", second_}, {"/dev/b", third_}, {"/dev/c", new_bytes(kSize)}};
  const Names there{{"/dev/a", third_}, {"/dev/x", second_}};
  const auto m = open(master_uuid(), here);
  const auto c = open(client_uuid(), there);
  EXPECT_EQ(m->device(1).size(), kSize);
  EXPECT_EQ(c->device(1).size(), kSize);
  EXPECT_EQ(m->device(2).size(), 2 * kSize);
  EXPECT_EQ(c->device(2).size(), 2 * kSize);
  m->device(1).store(40 * kMiB, std::as_bytes(std::span("hello")));
  EXPECT_EQ(c->device(1).acquire(40 * kMiB, 1)[0], std::byte{'h'});
  EXPECT_EQ(m->space().capacity, media::kMinimumDeviceSize + 3 * kSize);

  m->create_file(striped("s"));
  c->refresh();
  const auto tree = c->tree();
  const media::FileMap& map = tree->lookup_path("s")->map;
  ASSERT_EQ(map.extents.size(), 2U);
  EXPECT_NE(map.extents[0].device_index, map.extents[1].device_index);
  const CheckReport report = fsck(there);
  EXPECT_TRUE(report.clean());
  ASSERT_EQ(report.devices.size(), 2U);
  EXPECT_EQ(report.devices[0].state.entry.size, kSize);
}

// Only the uuid tells them apart.
TEST_F(DevicesTest, TwoOfOneSizeAreNotMixedUp) {
  const Bytes like_second = new_bytes(kSize);
  make({second_, like_second});
  const Names here{{"/dev/a", second_}, {"/dev/b", like_second}};
  const Names there{{"/dev/a", like_second}, {"/dev/b", second_}};
  const auto m = open(master_uuid(), here);
  const auto c = open(client_uuid(), there);
  m->device(1).store(40 * kMiB, std::as_bytes(std::span("hello")));
  EXPECT_EQ(c->device(1).acquire(40 * kMiB, 1)[0], std::byte{'h'});
  EXPECT_EQ(c->device(2).acquire(40 * kMiB, 1)[0], std::byte{0});
}

TEST_F(DevicesTest, AMissingOneAnswersWithTheReasonAndIsFoundLater) {
  make({second_});
  Names names;
  const auto m = open(master_uuid(), names);
  EXPECT_THAT(reason_of(*m, 1), HasSubstr("not among the 0 devices"));
  EXPECT_EQ(&m->device(0), &m->memory());
  // Nothing new is put there.
  for (int i = 0; i < 20; ++i) {
    m->create_file(striped(std::to_string(i)));
    for (const auto& strip : m->tree()->lookup_path(std::to_string(i))->map.extents) {
      EXPECT_EQ(strip.device_index, 0U);
    }
  }
  const CheckReport report = fsck(names);
  ASSERT_EQ(report.findings.size(), 1U);
  EXPECT_EQ(report.findings[0].area, media::Area::kDevice);
  EXPECT_EQ(report.findings[0].index, 1U);

  names["/dev/new"] = second_;
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  EXPECT_EQ(reason_of(*m, 1), "");
  EXPECT_EQ(m->devices()[0].entry.index, 1U);
}

TEST_F(DevicesTest, WhatIsSomethingElseIsNotTaken) {
  make({second_});
  const Bytes other = new_bytes(media::kMinimumDeviceSize);
  const Bytes others_second = new_bytes(kSize);
  RecordingMemory memory(other);
  RecordingMemory second(others_second);
  format(memory, {.system_uuid = master_uuid(), .devices = {&second}});
  const Names names{{"/empty", new_bytes(kSize)}, {"/first", first_}, {"/other", others_second}};
  const auto c = open(client_uuid(), names);
  const std::string reason = reason_of(*c, 1);
  EXPECT_THAT(reason, HasSubstr("/empty: superblock: magic"));
  EXPECT_THAT(reason, HasSubstr("/first: superblock: sb_flags"));
  EXPECT_THAT(reason, HasSubstr("/other: it is of the file system"));
}

TEST_F(DevicesTest, OneThatSaysAnotherSizeThanTheLogIsNotTaken) {
  make({second_});
  RecordingMemory second(second_);
  auto block = load_secondary(second).value.value();
  block.device_size -= 2 * kMiB;
  const auto bytes = media::encode(block);
  std::memcpy(second_->data(), bytes.data(), bytes.size());
  const Names names{{"/second", second_}};
  const auto c = open(client_uuid(), names);
  EXPECT_THAT(reason_of(*c, 1), HasSubstr("/second: its first block says"));
}

TEST_F(DevicesTest, OneThatIsTakenAwayUnderTheMountAnswersEio) {
  make({second_});
  const Names names{{"/second", second_}};
  const auto c = open(client_uuid(), names);
  EXPECT_EQ(reason_of(*c, 1), "");
  RecordingMemory other(new_bytes(media::kMinimumDeviceSize));
  RecordingMemory second(second_);
  EXPECT_EQ(
      error_code_of([&] { format(other, {.system_uuid = client_uuid(), .devices = {&second}}); }),
      EEXIST);
  EXPECT_EQ(reason_of(*c, 1), "");
  format(other, {.force = true, .system_uuid = client_uuid(), .devices = {&second}});
  EXPECT_THAT(reason_of(*c, 1), HasSubstr("another file system"));
  EXPECT_EQ(c->devices()[0].path, "");
  EXPECT_THAT(c->devices()[0].reason, HasSubstr("another file system"));
  EXPECT_FALSE(c->superseded());
}

TEST_F(DevicesTest, OneIsAddedToAMountedFileSystem) {
  make({});
  const Names names{{"/second", second_}};
  const auto m = open(master_uuid(), none_);
  const auto c = open(client_uuid(), names);
  auto memory = std::make_unique<RecordingMemory>(second_);
  EXPECT_EQ(m->add_device(std::move(memory), false), 1U);
  EXPECT_EQ(m->space().capacity, media::kMinimumDeviceSize + kSize);
  m->create_file(striped("s"));
  c->refresh();
  EXPECT_EQ(reason_of(*c, 1), "");
  std::set<uint64_t> devices;
  for (const auto& strip : c->tree()->lookup_path("s")->map.extents) {
    devices.insert(strip.device_index);
  }
  EXPECT_THAT(devices, ElementsAre(0, 1));
  EXPECT_TRUE(fsck(names).clean());

  const auto code = [&](const Bytes& bytes, bool force) {
    return error_code_of([&] { m->add_device(std::make_unique<RecordingMemory>(bytes), force); });
  };
  EXPECT_EQ(code(second_, true), EEXIST);
  EXPECT_EQ(code(first_, true), EEXIST);
  EXPECT_EQ(code(new_bytes(4 * kMiB - 4096), true), ENOSPC);
  const Bytes other = new_bytes(media::kMinimumDeviceSize);
  RecordingMemory others(other);
  format(others, {.system_uuid = client_uuid()});
  EXPECT_EQ(code(other, false), EEXIST);
  EXPECT_EQ(m->devices().size(), 1U);
  EXPECT_EQ(code(other, true), 0);
  EXPECT_EQ(error_code_of([&] { c->add_device(std::make_unique<RecordingMemory>(third_), false); }),
            EROFS);
  for (uint64_t i = 3; i < media::kMaxDevices; ++i) EXPECT_EQ(code(new_bytes(4 * kMiB), false), 0);
  EXPECT_EQ(code(new_bytes(4 * kMiB), false), ENOSPC);
  EXPECT_EQ(open(client_uuid(), none_)->devices().size(), media::kMaxDevices - 1);
}

TEST_F(DevicesTest, TheBlockIsThereBeforeTheLogNamesTheDevice) {
  make({});
  auto first = std::make_unique<RecordingMemory>(first_);
  RecordingMemory* const recorder = first.get();
  const auto m = Volume::open(std::move(first), {.system_uuid = master_uuid()});
  int writes = 0;
  recorder->on_event = [&](const RecordingMemory::Event& event) {
    if (event.kind != RecordingMemory::Kind::kWriteBack) return;
    ++writes;
    EXPECT_TRUE(media::decode_secondary({second_->data(), media::kSuperblockSize}, kSize).value);
  };
  m->add_device(std::make_unique<RecordingMemory>(second_), false);
  EXPECT_EQ(writes, 2);
}

// The append that names the device ended before it was announced.
TEST_F(DevicesTest, AnUnannouncedOneIsTakenByTheNextMount) {
  make({});
  const Names names{{"/second", second_}};
  open(master_uuid(), none_)->add_device(std::make_unique<RecordingMemory>(second_), false);
  RecordingMemory memory(first_);
  memory.store_word(media::kLogOffset + media::kNextIndexOffset, 0);
  const CheckReport report = fsck(names);
  EXPECT_EQ(report.unannounced, 1U);
  EXPECT_TRUE(report.devices.empty());
  EXPECT_EQ(report.capacity, media::kMinimumDeviceSize);
  EXPECT_TRUE(open(client_uuid(), names)->devices().empty());
  const auto m = open(master_uuid(), names);
  EXPECT_EQ(reason_of(*m, 1), "");
  EXPECT_EQ(reason_of(*open(client_uuid(), names), 1), "");
  m->create_file(striped("s"));
  EXPECT_TRUE(fsck(names).clean());
}

// A request that fails takes what was placed for the ones before it from every device back.
TEST_F(DevicesTest, AFailedBatchLeavesNothingOnAnyDevice) {
  make({second_});
  const Names names{{"/second", second_}};
  const auto m = open(master_uuid(), names);
  const uint64_t used = m->space().used;
  const std::vector<CreateRequest> requests{striped("a"), striped("a")};
  EXPECT_EQ(error_code_of([&] { m->create(requests); }), EEXIST);
  EXPECT_EQ(m->space().used, used);
  EXPECT_EQ(m->files_at(1, 0, kSize), (std::vector<tree::NodeId>{}));
}

TEST_F(DevicesTest, WhatAnInterruptedAddLeftIsTakenAgain) {
  make({});
  const auto m = open(master_uuid(), none_);
  RecordingMemory memory(second_);
  const auto left = format_device(memory, m->superblock(), 1, false);
  EXPECT_EQ(m->add_device(std::make_unique<RecordingMemory>(second_), false), 1U);
  EXPECT_NE(m->devices()[0].entry.uuid, left.uuid);
}

TEST_F(DevicesTest, FilesBeforeTheirDeviceAndDevicesOutOfOrderAreDamage) {
  make({});
  const media::Superblock superblock = open(client_uuid(), none_)->superblock();
  Contents contents(superblock);
  const auto add = [&](media::EntryBody body) {
    const auto finding = contents.add({0, std::move(body)});
    return finding ? finding->field : "";
  };
  media::FileEntry file{.path = "f", .size = 1, .map = {0, {{1, 2 * kMiB, 2 * kMiB}}}};
  const base::Uuid uuid = base::Uuid::random();
  EXPECT_EQ(add(file), "fmap.se[0].devindex");
  EXPECT_EQ(add(media::DaxDeviceEntry{kSize, uuid, 2}), "daxdev.index");
  EXPECT_EQ(add(media::DaxDeviceEntry{kSize, superblock.device_uuid, 1}), "daxdev.uuid");
  EXPECT_EQ(add(media::DaxDeviceEntry{kSize, uuid, 1}), "");
  EXPECT_EQ(add(media::DaxDeviceEntry{kSize, uuid, 2}), "daxdev.uuid");
  EXPECT_EQ(add(file), "");
  file.path = "g";
  EXPECT_EQ(add(file), "fmap");
  file.map.extents[0].offset = kSize;
  EXPECT_EQ(add(file), "fmap.se[0].len");
  contents.rollback({1, 0});
  EXPECT_EQ(contents.space.devices(), 1U);
  EXPECT_EQ(add(file), "fmap.se[0].devindex");
}

}  // namespace
}  // namespace famfs::volume
