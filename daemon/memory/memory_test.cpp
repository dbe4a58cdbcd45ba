// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "memory/cache_line.h"
#include "memory/dax_device.h"
#include "memory/open.h"
#include "testing/recording_memory.h"
#include "testing/temporary_directory.h"

namespace famfs::memory {
namespace {

using ::famfs::testing::error_code_of;
using ::famfs::testing::RecordingMemory;
using ::famfs::testing::TemporaryDirectory;
using ::testing::ElementsAre;
using Event = RecordingMemory::Event;
using Kind = RecordingMemory::Kind;

constexpr uint64_t kSize = 1 << 20;

std::array<std::byte, 8> eight(char c) {
  std::array<std::byte, 8> bytes;
  bytes.fill(static_cast<std::byte>(c));
  return bytes;
}

TEST(SharedMemory, AcquireInvalidatesExactlyTheLinesTouched) {
  RecordingMemory memory(kSize);
  memory.acquire(63, 2);
  EXPECT_THAT(memory.events,
              ElementsAre(Event{Kind::kInvalidate, 0, 128}, Event{Kind::kLoadFence}));
  memory.events.clear();
  memory.acquire(64, 64);
  EXPECT_THAT(memory.events,
              ElementsAre(Event{Kind::kInvalidate, 64, 64}, Event{Kind::kLoadFence}));
  memory.events.clear();
  memory.acquire(100, 0);
  EXPECT_THAT(memory.events, ElementsAre(Event{Kind::kLoadFence}));
}

TEST(SharedMemory, PublishWritesBackThenFences) {
  RecordingMemory memory(kSize);
  memory.store(120, eight('x'));
  EXPECT_TRUE(memory.events.empty());
  memory.publish(120, 9);
  EXPECT_THAT(memory.events,
              ElementsAre(Event{Kind::kWriteBack, 64, 128}, Event{Kind::kStoreFence}));
}

TEST(SharedMemory, BeginWriteAcquiresOnlyPartialEdges) {
  RecordingMemory memory(kSize);
  memory.begin_write(64, 128);
  EXPECT_THAT(memory.events, ElementsAre());
  memory.begin_write(70, 300);
  EXPECT_THAT(memory.events,
              ElementsAre(Event{Kind::kInvalidate, 64, 64}, Event{Kind::kInvalidate, 320, 64},
                          Event{Kind::kLoadFence}));
  memory.events.clear();
  memory.begin_write(65, 10);
  EXPECT_THAT(memory.events,
              ElementsAre(Event{Kind::kInvalidate, 64, 64}, Event{Kind::kLoadFence}));
  memory.events.clear();
  memory.begin_write(64, 70);
  EXPECT_THAT(memory.events,
              ElementsAre(Event{Kind::kInvalidate, 128, 64}, Event{Kind::kLoadFence}));
}

TEST(SharedMemory, CountsLinesAndFences) {
  RecordingMemory memory(kSize);
  memory.acquire(0, 65);
  memory.publish(0, 640);
  const Counters counters = memory.counters();
  EXPECT_EQ(counters.lines_invalidated, 2U);
  EXPECT_EQ(counters.lines_written_back, 10U);
  EXPECT_EQ(counters.fences, 2U);
}

TEST(SharedMemory, RefusesRangesOutside) {
  RecordingMemory memory(kSize);
  for (const auto& [offset, length] : {std::pair<uint64_t, uint64_t>{kSize, 1},
                                       {kSize - 7, 8},
                                       {0, kSize + 1},
                                       {UINT64_MAX, 2},
                                       {8, UINT64_MAX}}) {
    EXPECT_EQ(error_code_of([&] { memory.acquire(offset, length); }), ERANGE);
    EXPECT_EQ(error_code_of([&] { (void)memory.view(offset, length); }), ERANGE);
    EXPECT_EQ(error_code_of([&] { memory.begin_write(offset, length); }), ERANGE);
    EXPECT_EQ(error_code_of([&] { memory.write_back(offset, length); }), ERANGE);
    EXPECT_EQ(error_code_of([&] { memory.store_zeros(offset, length); }), ERANGE);
  }
  EXPECT_EQ(error_code_of([&] { memory.store(kSize - 7, eight('x')); }), ERANGE);
  EXPECT_EQ(error_code_of([&] { memory.store_word(kSize, 1); }), ERANGE);
  EXPECT_EQ(error_code_of([&] { memory.store_word(4, 1); }), ERANGE);
  EXPECT_TRUE(memory.events.empty());
}

TEST(SharedMemory, ReadOnlyRefusesChanges) {
  RecordingMemory memory(kSize, false);
  EXPECT_EQ(error_code_of([&] { memory.store(0, eight('x')); }), EROFS);
  EXPECT_EQ(error_code_of([&] { memory.store_word(0, 1); }), EROFS);
  EXPECT_EQ(error_code_of([&] { memory.store_zeros(0, 1); }), EROFS);
  EXPECT_EQ(error_code_of([&] { memory.begin_write(0, 1); }), EROFS);
  EXPECT_EQ(error_code_of([&] { memory.publish(0, 1); }), EROFS);
  EXPECT_EQ(memory.acquire(0, 8).size(), 8U);
}

TEST(CacheLine, InstructionsKeepTheBytes) {
  alignas(64) std::array<std::byte, 1024> bytes;
  bytes.fill(std::byte{0x5a});
  const auto expected = bytes;
  cpu_write_back(bytes.data(), bytes.size());
  cpu_store_fence();
  cpu_invalidate(bytes.data(), bytes.size());
  cpu_load_fence();
  EXPECT_EQ(bytes, expected);
}

TEST(OpenMemory, FileIsSharedBetweenOpenings) {
  const TemporaryDirectory directory;
  const std::string path = directory.sparse_file("image", kSize);
  const auto a = open_memory(path, Access::kReadWrite);
  const auto b = open_memory(path, Access::kReadOnly);
  EXPECT_STREQ(a->backend(), "file");
  EXPECT_EQ(a->size(), kSize);
  EXPECT_EQ(a->name(), path);
  EXPECT_FALSE(b->writable());
  a->store(100, eight('x'));
  a->publish(100, 8);
  EXPECT_EQ(std::memcmp(b->acquire(100, 8).data(), eight('x').data(), 8), 0);
}

TEST(OpenMemory, RefusesWhatIsNoMemory) {
  const TemporaryDirectory directory;
  const auto code = [](const std::string& path, Backend backend) {
    return error_code_of([&] { open_memory(path, Access::kReadOnly, backend); });
  };
  EXPECT_EQ(code(directory / "missing", Backend::kAutomatic), ENOENT);
  EXPECT_EQ(code("/dev/null", Backend::kAutomatic), ENODEV);
  EXPECT_EQ(code("/dev/null", Backend::kDevice), ENODEV);
  EXPECT_EQ(code("/dev/null", Backend::kFile), ENODEV);
  EXPECT_EQ(code(directory.path(), Backend::kAutomatic), ENODEV);
  const std::string file = directory.sparse_file("image", kSize);
  EXPECT_EQ(code(file, Backend::kDevice), ENODEV);
  EXPECT_EQ(code(directory.sparse_file("empty", 0), Backend::kFile), EINVAL);
}

TEST(OpenMemory, BackendNames) {
  EXPECT_EQ(parse_backend("noncoherent"), Backend::kNoncoherent);
  EXPECT_EQ(parse_backend("device"), Backend::kDevice);
  EXPECT_EQ(parse_backend("file"), Backend::kFile);
  EXPECT_EQ(parse_backend("automatic"), Backend::kAutomatic);
  EXPECT_EQ(parse_backend("coherent"), std::nullopt);
}

// Holds on machines with and without dax devices: each one listed can be described by its path.
TEST(DaxDevice, ListedDevicesAreDescribedAlike) {
  for (const DaxDevice& device : list_dax_devices()) {
    const DaxDevice described = describe_dax_device(device.path);
    EXPECT_EQ(described.name, device.name);
    EXPECT_EQ(described.size, device.size);
    EXPECT_EQ(described.driver, device.driver);
  }
}

// Two hosts with caches of their own over one memory.
class Noncoherent : public ::testing::Test {
 protected:
  static bool holds(std::span<const std::byte> bytes, char c) {
    return std::memcmp(bytes.data(), eight(c).data(), 8) == 0;
  }
  std::unique_ptr<SharedMemory> host() {
    return open_memory(path_, Access::kReadWrite, Backend::kNoncoherent);
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_.sparse_file("image", kSize);
};

TEST_F(Noncoherent, PublishedAndAcquiredIsSeen) {
  const auto a = host();
  const auto b = host();
  a->store(1000, eight('x'));
  a->publish(1000, 8);
  EXPECT_TRUE(holds(b->acquire(1000, 8), 'x'));
}

TEST_F(Noncoherent, StoreAloneIsNotSeen) {
  const auto a = host();
  const auto b = host();
  a->store(1000, eight('x'));
  a->fence();
  EXPECT_TRUE(holds(a->view(1000, 8), 'x'));
  EXPECT_FALSE(holds(b->acquire(1000, 8), 'x'));
}

TEST_F(Noncoherent, WriteBackWithoutFenceIsNotSeen) {
  const auto a = host();
  const auto b = host();
  a->store(1000, eight('x'));
  a->write_back(1000, 8);
  EXPECT_FALSE(holds(b->acquire(1000, 8), 'x'));
  a->fence();
  EXPECT_TRUE(holds(b->acquire(1000, 8), 'x'));
}

TEST_F(Noncoherent, LoadWithoutInvalidateIsOld) {
  const auto a = host();
  const auto b = host();
  a->store(1000, eight('x'));
  a->publish(1000, 8);
  EXPECT_FALSE(holds(b->view(1000, 8), 'x'));
  b->acquire(1000 + 64, 8);  // another line does not help
  EXPECT_FALSE(holds(b->view(1000, 8), 'x'));
}

TEST_F(Noncoherent, TouchesOnlyTheLinesOfTheRange) {
  const auto a = host();
  const auto b = host();
  a->store(0, eight('x'));
  a->store(64, eight('x'));
  a->store(128, eight('x'));
  a->publish(64, 8);
  EXPECT_FALSE(holds(b->acquire(0, 8), 'x'));
  EXPECT_TRUE(holds(b->acquire(64, 8), 'x'));
  EXPECT_FALSE(holds(b->acquire(128, 8), 'x'));
}

TEST_F(Noncoherent, WritingBackUnchangedLinesChangesNothing) {
  const auto a = host();
  const auto b = host();
  a->store(1000, eight('x'));
  a->publish(1000, 8);
  b->publish(0, kSize);  // b has old lines, none of them stored to
  EXPECT_TRUE(holds(host()->view(1000, 8), 'x'));
  // Once written back, a line is clean again.
  b->acquire(1000, 8);
  b->store(1000, eight('y'));
  b->publish(1000, 8);
  a->acquire(1000, 8);
  a->publish(1000, 8);
  EXPECT_TRUE(holds(host()->view(1000, 8), 'y'));
}

TEST_F(Noncoherent, BeginWriteKeepsTheNeighboursBytes) {
  const auto a = host();
  const auto b = host();
  a->store(0, eight('x'));
  a->publish(0, 8);
  // b writes into the same line, of which it has an old copy.
  const auto room = b->begin_write(8, 8);
  std::memcpy(room.data(), eight('y').data(), 8);
  b->publish(8, 8);
  EXPECT_TRUE(holds(a->acquire(0, 8), 'x'));
  EXPECT_TRUE(holds(a->acquire(8, 8), 'y'));
}

TEST_F(Noncoherent, StartsWithWhatTheFileHoldsAmongHoles) {
  const std::string sparse = directory_.sparse_file("sparse", uint64_t{64} << 30);
  const uint64_t far = (uint64_t{64} << 30) - 8;
  {
    const auto file = open_memory(sparse, Access::kReadWrite);
    file->store(uint64_t{5} << 30, eight('x'));
    file->store(far, eight('y'));
  }
  const auto memory = open_memory(sparse, Access::kReadOnly, Backend::kNoncoherent);
  EXPECT_TRUE(holds(memory->view(uint64_t{5} << 30, 8), 'x'));
  EXPECT_TRUE(holds(memory->view(far, 8), 'y'));
}

TEST_F(Noncoherent, SizeThatIsNoWholeLine) {
  path_ = directory_.sparse_file("odd", 1000);
  const auto a = host();
  const auto b = host();
  a->store(992, eight('x'));
  a->publish(992, 8);
  EXPECT_TRUE(holds(b->acquire(992, 8), 'x'));
  EXPECT_EQ(std::filesystem::file_size(path_), 1000U);
}

}  // namespace
}  // namespace famfs::memory
