// SPDX-License-Identifier: Apache-2.0
// What a host sees of another, rule by rule.
#include "model/cache.h"

#include <gtest/gtest.h>

#include <thread>

#include "model/testing.h"

namespace noncoherent {
namespace {

using testing::Device;
using testing::Host;
using testing::kDeviceSize;

class Cache : public ::testing::TestWithParam<const char*> {
 protected:
  Device device;
  Host writer{device, GetParam()}, reader{device, GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Policies, Cache, ::testing::Values("strict", "lenient"));

TEST_P(Cache, StoreIsSeenByItsHostAlone) {
  writer.store(0, 1);
  writer.mfence();  // a fence writes nothing back
  EXPECT_EQ(writer.load(0), 1u);
  EXPECT_EQ(reader.load(0), 0u);
}

TEST_P(Cache, WrittenBackAndFencedIsInMemory) {
  writer.store(0, 1);
  writer.clwb(0);
  writer.sfence();
  EXPECT_EQ(reader.load(0), 1u);
  EXPECT_EQ(writer.load(0), 1u);
}

TEST_P(Cache, WhatIsCachedIsNotFetchedAgain) {
  EXPECT_EQ(reader.load(0), 0u);
  writer.store(0, 1);
  writer.clwb(0);
  writer.sfence();
  EXPECT_EQ(reader.load(0), 0u);
}

TEST_P(Cache, InvalidatedIsFetchedAgain) {
  for (const bool opt : {false, true}) {
    EXPECT_EQ(reader.load(0), opt ? 1u : 0u);
    writer.store(0, opt ? 2 : 1);
    writer.clwb(0);
    writer.sfence();
    opt ? reader.clflushopt(0) : reader.clflush(0);
    reader.mfence();
    EXPECT_EQ(reader.load(0), opt ? 2u : 1u);
  }
}

TEST_P(Cache, InvalidationWritesBackWhatIsDirty) {
  writer.store(0, 1);
  writer.clflushopt(0);
  writer.mfence();
  EXPECT_EQ(reader.load(0), 1u);
  EXPECT_EQ(writer.load(0), 1u);
}

TEST_P(Cache, CleanLineIsNotWrittenBack) {
  EXPECT_EQ(reader.load(0), 0u);
  writer.store(0, 1);
  writer.clwb(0);
  writer.sfence();
  reader.clwb(0);  // it holds 0, but did not store it
  reader.mfence();
  EXPECT_EQ(device.memory.data()[0], std::byte{1});
  EXPECT_EQ(reader.counters.idle_write_backs, 1u);
}

// A processor marks the line, whatever is stored: the old bytes are written over the new ones.
TEST_P(Cache, StoreOfTheSameBytesMakesDirty) {
  EXPECT_EQ(reader.load(0), 0u);
  writer.store(0, 1);
  writer.clwb(0);
  writer.sfence();
  reader.store(0, 0);
  reader.clwb(0);
  reader.sfence();
  EXPECT_EQ(device.memory.data()[0], std::byte{0});
}

// What a device of the machine stores is not told of.
TEST_P(Cache, LineThatDiffersIsDirty) {
  writer.put(0, 1);
  writer.clwb(0);
  writer.sfence();
  EXPECT_EQ(reader.load(0), 1u);
}

// Lines are written whole: another host's bytes in the same line are lost.
TEST_P(Cache, TwoWritersOfOneLine) {
  writer.store(0, 1);
  reader.store(8, 2);
  writer.clwb(0);
  writer.sfence();
  reader.clwb(0);
  reader.sfence();
  Host third{device, GetParam()};
  EXPECT_EQ(third.load(8), 2u);
  EXPECT_EQ(third.load(0), 0u);
}

TEST_P(Cache, TwoWritersOfTwoLinesOfAPage) {
  writer.store(0, 1);
  reader.store(64, 2);
  writer.clwb(0);
  writer.sfence();
  reader.clwb(64);
  reader.sfence();
  Host third{device, GetParam()};
  EXPECT_EQ(third.load(64), 2u);
  EXPECT_EQ(third.load(0), 1u);
}

TEST_P(Cache, StoreOverTwoLines) {
  writer.store(60, 0x1111111122222222);
  writer.clwb(0);
  writer.clwb(64);
  writer.sfence();
  EXPECT_EQ(reader.load(60), 0x1111111122222222u);
}

// Non-temporal stores go to memory, but not before a fence (SDM volume 1, 10.4.6.2).
TEST_P(Cache, StoredAroundTheCache) {
  writer.store_around(0, 1);
  writer.store_around(8, 2);
  EXPECT_EQ(writer.load(8), 2u);
  writer.sfence();
  EXPECT_EQ(reader.load(0), 1u);
  EXPECT_EQ(reader.load(8), 2u);
}

// Only the bytes that were stored so are written.
TEST_P(Cache, StoredAroundLeavesOthersBytes) {
  EXPECT_EQ(writer.load(0), 0u);
  reader.store(8, 7);
  reader.clwb(8);
  reader.sfence();
  writer.store_around(0, 1);
  writer.sfence();
  EXPECT_EQ(writer.load(8), 7u);  // its line left the cache
  EXPECT_EQ(device.memory.data()[8], std::byte{7});
}

TEST_P(Cache, StoredAroundTakesDirtyBytesAlong) {
  writer.store(8, 3);
  writer.store_around(0, 1);
  writer.sfence();
  EXPECT_EQ(reader.load(8), 3u);
  EXPECT_EQ(reader.load(0), 1u);
}

TEST_P(Cache, WriteBackOfEverything) {
  for (uint64_t page = 0; page < 5; ++page) writer.store(page * kPageSize + 128, page + 1);
  writer.cache.write_back_and_invalidate_all();
  EXPECT_TRUE(writer.frames.present.empty());
  for (uint64_t page = 0; page < 5; ++page) {
    EXPECT_EQ(reader.load(page * kPageSize + 128), page + 1);
  }
}

TEST_P(Cache, FlushOfWhatIsNotCachedDoesNothing) {
  writer.clwb(0);
  writer.clflush(0);
  writer.clflushopt(0);
  writer.mfence();
  EXPECT_EQ(writer.counters.idle_write_backs, 1u);
  EXPECT_EQ(writer.counters.idle_invalidations, 2u);
  EXPECT_EQ(writer.counters.commits, 0u);
}

// The oldest pages leave, and nothing that was stored is lost.
TEST_P(Cache, CapacityIsBounded) {
  Host small{device, std::string(GetParam()) + ",capacity=1"};
  const uint64_t most = (uint64_t{1} << 20) / kPageSize;
  static_assert(kDeviceSize / kPageSize < (1 << 20) / kPageSize);
  EXPECT_GT(most, 0u);
  Policy policy = parse_policy(GetParam());
  policy.capacity = 4 * kPageSize;
  testing::MemoryFrames frames{kDeviceSize};
  Counters counters;
  noncoherent::Cache cache(0, device.shared, frames, policy, counters, nullptr);
  for (uint64_t page = 0; page < 10; ++page) {
    cache.fill(page);
    frames.data()[page * kPageSize] = std::byte(page + 1);
    cache.stored(page * kPageSize, 1);
    EXPECT_LE(frames.present.size(), 4u);
  }
  EXPECT_EQ(frames.present, (std::set<uint64_t>{6, 7, 8, 9}));
  for (uint64_t page = 0; page < 6; ++page) {
    EXPECT_EQ(device.memory.data()[page * kPageSize], std::byte(page + 1));
  }
  EXPECT_TRUE(frames.held.empty());
}

// strict: as late as a processor may.

TEST(Strict, WriteBackWaitsForAFence) {
  Device device;
  Host writer{device, "strict"}, reader{device, "strict"};
  writer.store(0, 1);
  writer.clwb(0);
  EXPECT_EQ(reader.load(0), 0u);
}

TEST(Strict, WriteBackTakesWhatTheLineHeld) {
  Device device;
  Host writer{device, "strict"}, reader{device, "strict"};
  writer.store(0, 1);
  writer.clwb(0);
  writer.store(0, 2);
  writer.sfence();
  EXPECT_EQ(reader.load(0), 1u);
  writer.clwb(0);
  writer.sfence();
  reader.clflush(0);
  reader.mfence();
  EXPECT_EQ(reader.load(0), 2u);
}

// CLFLUSH is ordered with stores, CLFLUSHOPT is not (SDM volume 2).
TEST(Strict, FlushWritesBackAtOnceFlushOptDoesNot) {
  Device device;
  Host writer{device, "strict"}, reader{device, "strict"};
  writer.store(0, 1);
  writer.store(64, 2);
  writer.clflush(0);
  writer.clflushopt(64);
  EXPECT_EQ(reader.load(0), 1u);
  EXPECT_EQ(reader.load(64), 0u);
}

TEST(Strict, LoadBeforeTheFenceSeesTheOldLine) {
  Device device;
  Host writer{device, "strict"}, reader{device, "strict"};
  for (const bool opt : {false, true}) {
    const uint64_t offset = opt ? 0 : 64;
    EXPECT_EQ(reader.load(offset), 0u);
    writer.store(offset, 1);
    writer.clwb(offset);
    writer.sfence();
    opt ? reader.clflushopt(offset) : reader.clflush(offset);
    EXPECT_EQ(reader.load(offset), 0u);
    reader.sfence();  // does not order loads
    EXPECT_EQ(reader.load(offset), 0u);
    reader.mfence();
    EXPECT_EQ(reader.load(offset), 1u);
  }
}

// An invalidated line is fetched again at once, so what is written afterwards is not seen.
TEST(Strict, InvalidationBeforeTheAnnouncementDoesNotHelp) {
  Device device;
  Host writer{device, "strict"}, reader{device, "strict"};
  EXPECT_EQ(reader.load(0), 0u);
  reader.clflushopt(0);
  reader.mfence();
  writer.store(0, 1);
  writer.clwb(0);
  writer.sfence();
  EXPECT_EQ(reader.load(0), 0u);
}

TEST(Strict, NonTemporalStoreWaitsForAFence) {
  Device device;
  Host writer{device, "strict"}, reader{device, "strict"};
  writer.store_around(0, 1);
  EXPECT_EQ(reader.load(0), 0u);
}

// A store to a line after its flush meets the line as it is in memory.
TEST(Strict, StoreAfterAFlushOfItsLine) {
  Device device;
  Host writer{device, "strict"}, other{device, "strict"};
  EXPECT_EQ(writer.load(0), 0u);
  other.store(8, 5);
  other.clwb(8);
  other.sfence();
  writer.clflushopt(0);
  writer.store(0, 1);
  EXPECT_EQ(writer.load(8), 5u);
  EXPECT_EQ(writer.load(0), 1u);
  writer.mfence();
  EXPECT_EQ(writer.load(0), 1u);
  writer.clwb(0);
  writer.sfence();
  EXPECT_EQ(device.memory.data()[0], std::byte{1});
  EXPECT_EQ(device.memory.data()[8], std::byte{5});
}

// A line that two processors of a host flush never goes back to older bytes.
TEST(Strict, TwoProcessorsFlushOneLine) {
  Device device;
  Host host{device, "strict"};
  Processor second(host.counters, Policy{});
  host.store(0, 1);
  host.clwb(0);
  host.store(0, 2);
  second.clwb(host.cache, 0);
  second.store_fence();
  EXPECT_EQ(device.memory.data()[0], std::byte{2});
  host.sfence();
  EXPECT_EQ(device.memory.data()[0], std::byte{2});
}

TEST(Lenient, EverythingAtOnce) {
  Device device;
  Host writer{device, "lenient"}, reader{device, "lenient"};
  EXPECT_EQ(reader.load(0), 0u);
  writer.store(0, 1);
  writer.clwb(0);
  writer.store_around(64, 2);
  reader.clflushopt(0);
  EXPECT_TRUE(reader.frames.present.empty());
  EXPECT_EQ(reader.load(0), 1u);
  EXPECT_EQ(reader.load(64), 2u);
}

TEST(Lenient, PageWithDirtyLinesStays) {
  Device device;
  Host host{device, "lenient"};
  host.store(64, 1);
  host.clflush(0);
  EXPECT_EQ(host.frames.present.size(), 1u);
  EXPECT_TRUE(host.frames.held.empty());
  EXPECT_EQ(host.load(64), 1u);
}

// A page that left and came back is one page, and the youngest.
TEST(Lenient, PagesThatComeBackTakeNoMoreRoom) {
  Device device;
  Policy policy = parse_policy("lenient");
  policy.capacity = 2 * kPageSize;
  testing::MemoryFrames frames{kDeviceSize};
  Counters counters;
  noncoherent::Cache cache(0, device.shared, frames, policy, counters, nullptr);
  const auto leave_and_come_back = [&] {
    cache.invalidate(0, false);
    EXPECT_FALSE(frames.present.contains(0));
    cache.fill(0);
  };
  cache.fill(0);
  for (int i = 0; i < 3; ++i) leave_and_come_back();
  cache.fill(1);
  EXPECT_EQ(frames.present, (std::set<uint64_t>{0, 1}));
  EXPECT_EQ(counters.evicted, 0u);
  leave_and_come_back();
  cache.fill(2);
  EXPECT_EQ(frames.present, (std::set<uint64_t>{0, 2}));
  EXPECT_EQ(counters.evicted, 1u);
}

// Dirty lines reach memory unasked, in any order; equal seeds, equal choices.
TEST(Evictions, AreSeenAndRepeated) {
  std::vector<Line> memories[3];
  const char* const policies[] = {"strict,evict=512,seed=3", "strict,evict=512,seed=3",
                                  "strict,evict=512,seed=4"};
  for (int run = 0; run < 3; ++run) {
    Device device;
    Host host{device, policies[run]};
    for (uint64_t i = 0; i < 200; ++i) host.store(i * kLineSize, i + 1);
    EXPECT_GT(host.counters.evicted, 10u);
    for (uint64_t i = 0; i < 200; ++i) {
      EXPECT_EQ(host.load(i * kLineSize), i + 1);
      memories[run].push_back(device.shared.fetch_line(i));
    }
  }
  EXPECT_EQ(memories[0], memories[1]);
  EXPECT_NE(memories[0], memories[2]);
}

struct Recorder : Gate {
  void commit(const Commit& commit, DirtyLines& dirty) override {
    said += "c" + std::to_string(commit.line) + " ";
    dirty.each([&](uint64_t line, const Line& bytes, Mask) {
      said +=
          "d" + std::to_string(line) + "=" + std::to_string(std::to_integer<int>(bytes[0])) + " ";
    });
  }
  void fetch(unsigned, uint64_t line, unsigned count) override {
    said += "f" + std::to_string(line) + "+" + std::to_string(count) + " ";
  }
  std::string said;
};

TEST(Gate, IsPassedByAllThatHostsSeeOfEachOther) {
  Device device;
  Recorder gate;
  Host host{device, "strict", &gate};
  host.store(kPageSize, 1);
  host.clwb(kPageSize);
  host.sfence();
  host.clflushopt(kPageSize);
  host.mfence();
  EXPECT_EQ(gate.said, "f64+64 c64 f64+1 ");
}

TEST(Gate, KnowsWhatElseIsDirty) {
  Device device;
  Recorder gate;
  Host host{device, "strict", &gate};
  for (const uint64_t line : {0, 1, 2}) host.store(line * kLineSize, line + 1);
  host.clwb(0);
  host.clwb(kLineSize);
  host.store(kLineSize, 9);  // again, before the fence
  host.sfence();
  // The second line waits for its write-back with what it held then, and is dirty once more.
  EXPECT_EQ(gate.said, "f0+64 c0 d1=2 d1=9 d2=3 c1 d1=9 d2=3 ");
}

// Another processor stores while lines are fetched again: no store is lost.
TEST(Torture, StoresBesideRefetches) {
  Device device;
  Host host{device, "strict"};
  host.touch(0);
  std::atomic<uint64_t>& counter = *reinterpret_cast<std::atomic<uint64_t>*>(host.frames.data());
  std::jthread flusher([&](std::stop_token stop) {
    Processor second(host.counters, Policy{});
    while (!stop.stop_requested()) {
      second.clflushopt(host.cache, 0);
      second.full_fence();
    }
  });
  for (uint64_t i = 1; i <= 200'000; ++i) {
    counter.store(i);
    std::byte value[8];
    std::memcpy(value, &i, 8);
    host.cache.stored_beside_others(0, 8, value);
    ASSERT_EQ(counter.load(), i);
  }
}

}  // namespace
}  // namespace noncoherent
