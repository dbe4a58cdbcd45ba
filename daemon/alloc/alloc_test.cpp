// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "alloc/pool.h"
#include "testing/temporary_directory.h"

namespace famfs::alloc {
namespace {

using ::famfs::testing::error_code_of;
using ::testing::ElementsAre;

constexpr uint64_t kMiB = 1024ull * 1024;
constexpr uint64_t kGiB = 1024 * kMiB;
constexpr uint64_t kMetadata = 10 * kMiB;

media::Superblock device(uint64_t size) {
  media::Superblock superblock;
  superblock.device_size = size;
  return superblock;
}

TEST(Space, FirstFitAfterTheLog) {
  Pool space(device(4 * kGiB));
  EXPECT_EQ(space.used(), kMetadata);
  const auto map = space.allocate(3'000'000, 2);
  EXPECT_THAT(map.extents, ElementsAre(media::Extent{0, kMetadata, 4 * kMiB}));
  EXPECT_FALSE(map.interleaved());
  EXPECT_THAT(space.allocate(1, 3).extents,
              ElementsAre(media::Extent{0, kMetadata + 4 * kMiB, 2 * kMiB}));
  EXPECT_EQ(space.used(), kMetadata + 6 * kMiB);
  EXPECT_EQ(space.free(), 4 * kGiB - space.used());
}

// The reference places the second file of a session past the end of the device in this case.
TEST(Space, NeverBeyondTheEnd) {
  Pool space(device(64 * kMiB));
  space.allocate(30 * kMiB, 2);
  EXPECT_EQ(error_code_of([&] { space.allocate(30 * kMiB, 3); }), ENOSPC);
  EXPECT_THAT(space.allocate(24 * kMiB, 3).extents,
              ElementsAre(media::Extent{0, 40 * kMiB, 24 * kMiB}));
  EXPECT_EQ(space.free(), 0U);
  EXPECT_EQ(error_code_of([&] { space.allocate(1, 4); }), ENOSPC);
}

TEST(Space, TailShorterThanAUnitIsNotGivenOut) {
  Pool space(device(64 * kMiB + 4096));
  space.allocate(54 * kMiB, 2);
  EXPECT_EQ(error_code_of([&] { space.allocate(1, 3); }), ENOSPC);
}

TEST(Space, HostileSizes) {
  Pool space(device(4 * kGiB));
  EXPECT_EQ(error_code_of([&] { space.allocate(0, 2); }), EINVAL);
  EXPECT_EQ(error_code_of([&] { space.allocate(UINT64_MAX, 2); }), ENOSPC);
  std::mt19937_64 random(1);
  EXPECT_EQ(error_code_of([&] { space.allocate(UINT64_MAX, {4, 4, 2 * kMiB}, 2, random); }),
            ENOSPC);
  EXPECT_EQ(
      error_code_of([&] { space.allocate(UINT64_MAX, {4, 4, uint64_t{1} << 63}, 2, random); }),
      ENOSPC);
  EXPECT_EQ(space.used(), kMetadata);
}

TEST(Space, ReleaseMakesTheSameRoomAgain) {
  Pool space(device(4 * kGiB));
  const auto a = space.allocate(2 * kMiB, 2);
  const auto b = space.allocate(2 * kMiB, 3);
  const auto c = space.allocate(2 * kMiB, 4);
  space.release(a);
  space.release(c);
  space.release(b);
  EXPECT_EQ(space.used(), kMetadata);
  EXPECT_EQ(space.allocate(6 * kMiB, 5).extents[0].offset, kMetadata);
}

TEST(Space, ReserveFindsTheFirstCollisionAndChangesNothing) {
  Pool space(device(4 * kGiB));
  EXPECT_FALSE(space.reserve({0, {{0, 20 * kMiB, 4 * kMiB}}}, 2));
  EXPECT_FALSE(space.reserve({0, {{0, 30 * kMiB, 4 * kMiB}}}, 3));
  const uint64_t used = space.used();
  const auto collision =
      space.reserve({0, {{0, 40 * kMiB, 2 * kMiB}, {0, 22 * kMiB, 10 * kMiB}}}, 4);
  ASSERT_TRUE(collision);
  EXPECT_EQ(collision->extent, (media::Extent{0, 22 * kMiB, 2 * kMiB}));
  EXPECT_EQ(collision->owner, 2U);
  EXPECT_EQ(space.used(), used);
  EXPECT_FALSE(space.reserve({0, {{0, 40 * kMiB, 2 * kMiB}}}, 4));
}

TEST(Space, ReserveFindsOverlapInsideOneMapAndWithTheLog) {
  Pool space(device(4 * kGiB));
  const auto twice = space.reserve({0, {{0, 20 * kMiB, 4 * kMiB}, {0, 22 * kMiB, 4 * kMiB}}}, 2);
  ASSERT_TRUE(twice);
  EXPECT_EQ(twice->owner, 2U);
  EXPECT_TRUE(space.reserve({0, {{0, 8 * kMiB, 4 * kMiB}}}, 2));
  EXPECT_EQ(space.used(), kMetadata);
}

TEST(Space, AllocationGoesAroundReservedRuns) {
  Pool space(device(4 * kGiB));
  space.reserve({0, {{0, 12 * kMiB, 2 * kMiB}}}, 2);
  EXPECT_EQ(space.allocate(4 * kMiB, 3).extents[0].offset, 14 * kMiB);
  EXPECT_EQ(space.allocate(2 * kMiB, 4).extents[0].offset, 10 * kMiB);
}

TEST(Space, SmallAllocationUnitsOfOthersAreRespected) {
  media::Superblock superblock = device(4 * kGiB);
  superblock.alloc_unit = 4096;
  Pool space(superblock);
  EXPECT_FALSE(space.reserve({0, {{0, kMetadata + 4096, 4096}}}, 2));
  EXPECT_THAT(space.allocate(8192, 3).extents,
              ElementsAre(media::Extent{0, kMetadata + 8192, 8192}));
  EXPECT_THAT(space.allocate(1, 4).extents, ElementsAre(media::Extent{0, kMetadata, 4096}));
  // Large files begin where large pages can map them, while there is such a place.
  EXPECT_THAT(space.allocate(2 * kMiB, 5).extents,
              ElementsAre(media::Extent{0, kMetadata + 2 * kMiB, 2 * kMiB}));
}

TEST(Space, SmallUnitsAreUsedToTheLast) {
  media::Superblock superblock = device(64 * kMiB + 4096);
  superblock.alloc_unit = 4096;
  Pool space(superblock);
  space.allocate(1, 2);
  EXPECT_THAT(space.allocate(54 * kMiB, 3).extents,
              ElementsAre(media::Extent{0, kMetadata + 4096, 54 * kMiB}));
  EXPECT_EQ(space.free(), 0U);
}

TEST(Space, FragmentedSpaceGivesSeveralExtents) {
  Pool space(device(64 * kMiB));
  for (const uint64_t at : {12, 20, 22, 40}) space.reserve({0, {{0, at * kMiB, 2 * kMiB}}}, 2);
  // Free: 10-12, 14-20, 24-40, 42-64. One run while one is long enough, else the largest ones.
  const auto whole = space.allocate(22 * kMiB, 3);
  EXPECT_THAT(whole.extents, ElementsAre(media::Extent{0, 42 * kMiB, 22 * kMiB}));
  const auto map = space.allocate(17 * kMiB, 4);
  EXPECT_FALSE(map.interleaved());
  EXPECT_THAT(map.extents, ElementsAre(media::Extent{0, 14 * kMiB, 2 * kMiB},
                                       media::Extent{0, 24 * kMiB, 16 * kMiB}));
  EXPECT_EQ(space.free(), 6 * kMiB);
  space.release(map);
  EXPECT_EQ(space.free(), 24 * kMiB);
}

TEST(Space, AFileHasAtMost16Extents) {
  Pool space(device(128 * kMiB));
  // 2 MiB used, 2 MiB free, alternating.
  for (uint64_t at = 10; at < 128; at += 4) space.reserve({0, {{0, at * kMiB, 2 * kMiB}}}, 2);
  const uint64_t used = space.used();
  ASSERT_GT(space.free(), 34 * kMiB);
  EXPECT_EQ(error_code_of([&] { space.allocate(32 * kMiB + 1, 3); }), ENOSPC);
  EXPECT_EQ(space.used(), used);
  EXPECT_EQ(space.allocate(32 * kMiB, 3).extents.size(), 16U);
}

TEST(Pool, WhatDoesNotFitOnOneDeviceGoesToTheNext) {
  Pool pool(device(64 * kMiB));
  pool.add_device(32 * kMiB);
  EXPECT_EQ(pool.capacity(), 96 * kMiB);
  EXPECT_EQ(pool.used(), kMetadata + 2 * kMiB);
  EXPECT_EQ(pool.allocate(40 * kMiB, 2).extents[0].device_index, 0U);
  // A device that is not here holds nothing new.
  EXPECT_EQ(error_code_of([&] { pool.allocate(20 * kMiB, 3); }), ENOSPC);
  pool.set_usable(1, true);
  EXPECT_THAT(pool.allocate(20 * kMiB, 3).extents,
              ElementsAre(media::Extent{1, 2 * kMiB, 20 * kMiB}));
  const auto spread = pool.allocate(24 * kMiB, 4);
  EXPECT_THAT(spread.extents, ElementsAre(media::Extent{0, 50 * kMiB, 14 * kMiB},
                                          media::Extent{1, 22 * kMiB, 10 * kMiB}));
  EXPECT_EQ(pool.free(), 0U);
  pool.release(spread);
  EXPECT_EQ(pool.free(), 24 * kMiB);
}

TEST(Pool, OneStripPerDevice) {
  Pool pool(device(4 * kGiB));
  for (int i = 0; i < 3; ++i) pool.add_device(kGiB);
  for (int i = 1; i < 4; ++i) pool.set_usable(static_cast<uint64_t>(i), i != 2);
  std::mt19937_64 random(1);
  std::set<uint64_t> devices;
  const auto map = pool.allocate(9'000'001, {64, 3, 2 * kMiB}, 2, random);
  for (const auto& strip : map.extents) devices.insert(strip.device_index);
  EXPECT_THAT(devices, ElementsAre(0, 1, 3));
  // More strips than devices: buckets of one device.
  const auto four = pool.allocate(9'000'001, {4, 4, 2 * kMiB}, 3, random);
  for (const auto& strip : four.extents) EXPECT_EQ(strip.device_index, 0U);
  EXPECT_EQ(four.extents.size(), 4U);
  EXPECT_EQ(error_code_of([&] { pool.allocate(kGiB, {4, 2, 3 * kMiB}, 2, random); }), EINVAL);
  EXPECT_EQ(error_code_of([&] { pool.allocate(kGiB, {4, 0, 2 * kMiB}, 2, random); }), EINVAL);
  // Two of three devices have room.
  pool.reserve({0, {{3, 20 * kMiB, kGiB - 20 * kMiB}}}, 4);
  EXPECT_EQ(pool.allocate(100 * kMiB, {4, 2, 2 * kMiB}, 4, random).extents.size(), 2U);
  EXPECT_EQ(error_code_of([&] { pool.allocate(100 * kMiB, {4, 3, 2 * kMiB}, 4, random); }), ENOSPC);
}

TEST(Pool, CollisionsAreOfTheirDevice) {
  Pool pool(device(4 * kGiB));
  pool.add_device(kGiB);
  EXPECT_FALSE(pool.reserve({0, {{0, 20 * kMiB, 4 * kMiB}, {1, 20 * kMiB, 4 * kMiB}}}, 2));
  const uint64_t used = pool.used();
  const auto collision = pool.reserve({0, {{0, 40 * kMiB, 4 * kMiB}, {1, 22 * kMiB, 4 * kMiB}}}, 3);
  ASSERT_TRUE(collision);
  EXPECT_EQ(collision->extent, (media::Extent{1, 22 * kMiB, 2 * kMiB}));
  EXPECT_EQ(pool.used(), used);
  EXPECT_TRUE(pool.reserve({0, {{1, 0, 2 * kMiB}}}, 3));  // its first block
}

TEST(Space, OneStripPerBucket) {
  Pool space(device(4 * kGiB));
  std::mt19937_64 random(1);
  const auto map = space.allocate(9'000'001, {4, 3, 2 * kMiB}, 2, random);
  EXPECT_EQ(map.chunk_size, 2 * kMiB);
  ASSERT_EQ(map.extents.size(), 3U);
  std::set<uint64_t> buckets;
  for (const auto& strip : map.extents) {
    EXPECT_EQ(strip.length, 4 * kMiB);
    EXPECT_EQ(strip.offset / kGiB, (strip.offset + strip.length - 1) / kGiB);
    buckets.insert(strip.offset / kGiB);
  }
  EXPECT_EQ(buckets.size(), 3U);
  EXPECT_EQ(space.used(), kMetadata + 12 * kMiB);
}

TEST(Space, BucketsAreChosenAtRandom) {
  std::set<uint64_t> first;
  std::mt19937_64 random(1);
  for (int i = 0; i < 50; ++i) {
    Pool space(device(4 * kGiB));
    first.insert(space.allocate(2 * kMiB, {4, 1, 2 * kMiB}, 2, random).extents[0].offset / kGiB);
  }
  EXPECT_EQ(first.size(), 4U);
}

TEST(Space, SmallFilesAreNotInterleaved) {
  Pool space(device(4 * kGiB));
  std::mt19937_64 random(1);
  const auto map = space.allocate(2 * kMiB - 1, {4, 3, 2 * kMiB}, 2, random);
  EXPECT_THAT(map.extents, ElementsAre(media::Extent{0, kMetadata, 2 * kMiB}));
  EXPECT_EQ(map.chunk_size, 0U);
}

TEST(Space, InterleavedFailureTakesNothing) {
  Pool space(device(4 * kGiB));
  // Fill buckets 1 to 3.
  space.reserve({0, {{0, kGiB, 3 * kGiB}}}, 2);
  std::mt19937_64 random(1);
  const uint64_t used = space.used();
  EXPECT_EQ(error_code_of([&] { space.allocate(8 * kMiB, {4, 2, 2 * kMiB}, 3, random); }), ENOSPC);
  EXPECT_EQ(space.used(), used);
  EXPECT_EQ(space.allocate(8 * kMiB, {4, 1, 2 * kMiB}, 3, random).extents.size(), 1U);
}

TEST(Space, InterleaveParameters) {
  const auto code = [](Interleave interleave) {
    return error_code_of([&] { check_interleave(interleave, 16 * kGiB, 2 * kMiB); });
  };
  EXPECT_EQ(code({16, 16, 2 * kMiB}), 0);
  EXPECT_EQ(code({1, 1, kGiB}), 0);
  EXPECT_EQ(code({0, 1, 2 * kMiB}), EINVAL);
  EXPECT_EQ(code({17, 1, 2 * kMiB}), EINVAL);  // buckets below 1 GiB
  EXPECT_EQ(code({65, 1, 2 * kMiB}), EINVAL);
  EXPECT_EQ(code({4, 0, 2 * kMiB}), EINVAL);
  EXPECT_EQ(code({4, 5, 2 * kMiB}), EINVAL);
  EXPECT_EQ(code({16, 17, 2 * kMiB}), EINVAL);
  EXPECT_EQ(code({4, 4, 0}), EINVAL);
  EXPECT_EQ(code({4, 4, 3 * kMiB}), EINVAL);
  EXPECT_EQ(code({4, 4, kMiB}), EINVAL);
}

TEST(Space, OwnersAndUseOfARange) {
  Pool space(device(4 * kGiB));
  space.reserve({0, {{0, 20 * kMiB, 4 * kMiB}}}, 2);
  space.reserve({0, {{0, 24 * kMiB, 2 * kMiB}}}, 3);
  EXPECT_THAT(space.space(0).owners_within(0, 20 * kMiB), ElementsAre());
  EXPECT_THAT(space.space(0).owners_within(21 * kMiB, 1), ElementsAre(2));
  EXPECT_THAT(space.space(0).owners_within(23 * kMiB, 2 * kMiB), ElementsAre(2, 3));
  EXPECT_THAT(space.space(0).owners_within(25 * kMiB, UINT64_MAX), ElementsAre(3));
  EXPECT_EQ(space.space(0).used_within(0, kGiB), kMetadata + 6 * kMiB);
  EXPECT_EQ(space.space(0).used_within(21 * kMiB, 4 * kMiB), 4 * kMiB);
}

// Random allocation and release against a plain map of units.
TEST(Space, AgreesWithAPlainModel) {
  constexpr uint64_t kUnits = 2048;
  constexpr uint64_t kUnit = 2 * kMiB;
  Pool space(device(kUnits * kUnit));
  std::vector<bool> used(kUnits, false);
  std::fill_n(used.begin(), kMetadata / kUnit, true);
  std::mt19937_64 random(7);
  std::vector<media::FileMap> maps;
  for (int round = 0; round < 3000; ++round) {
    if (random() % 3 != 0 || maps.empty()) {
      const uint64_t units = 1 + random() % 40;
      media::FileMap map;
      const int code = error_code_of([&] { map = space.allocate(units * kUnit, 9); });
      // First fit in the model, else its largest runs.
      uint64_t at = 0;
      uint64_t run = 0;
      std::vector<uint64_t> runs(1, 0);
      while (at < kUnits && run < units) {
        run = used[at++] ? 0 : run + 1;
        run == 0 ? runs.push_back(0) : void(runs.back() = run);
      }
      std::sort(runs.rbegin(), runs.rend());
      runs.resize(std::min<size_t>(runs.size(), 16));
      if (run < units && std::accumulate(runs.begin(), runs.end(), uint64_t{0}) < units) {
        EXPECT_EQ(code, ENOSPC);
        continue;
      }
      ASSERT_EQ(code, 0);
      if (run >= units) {
        ASSERT_EQ(map.extents.size(), 1U);
        ASSERT_EQ(map.extents[0].offset, (at - units) * kUnit);
      }
      uint64_t mapped = 0;
      for (const auto& extent : map.extents) {
        for (uint64_t i = 0; i < extent.length / kUnit; ++i, ++mapped) {
          ASSERT_FALSE(used[extent.offset / kUnit + i]);
          used[extent.offset / kUnit + i] = true;
        }
      }
      ASSERT_EQ(mapped, units);
      maps.push_back(map);
    } else {
      const size_t pick = random() % maps.size();
      space.release(maps[pick]);
      for (const auto& extent : maps[pick].extents) {
        std::fill_n(used.begin() + static_cast<int64_t>(extent.offset / kUnit),
                    extent.length / kUnit, false);
      }
      maps.erase(maps.begin() + static_cast<int64_t>(pick));
    }
    ASSERT_EQ(space.used(),
              kUnit * static_cast<uint64_t>(std::count(used.begin(), used.end(), true)));
  }
}

}  // namespace
}  // namespace famfs::alloc
