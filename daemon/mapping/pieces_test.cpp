// SPDX-License-Identifier: Apache-2.0
// Contract: a range of a file becomes the right runs of the device, clipped, joined and bounded.
#include "mapping/pieces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace famfs::mapping {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t kMiB = 1U << 20;
constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();

media::FileMap contiguous() { return {0, {{0, 100 * kMiB, 4 * kMiB}}}; }

media::FileMap interleaved() {
  return {2 * kMiB, {{0, 100 * kMiB, 4 * kMiB}, {0, 200 * kMiB, 4 * kMiB}}};
}

TEST(Pieces, ContiguousRangeIsOneRun) {
  EXPECT_THAT(pieces(contiguous(), 3 * kMiB, 10, 20, kNoLimit),
              ElementsAre(Piece{100 * kMiB + 10, 20}));
}

TEST(Pieces, RangeIsClippedToTheFile) {
  EXPECT_THAT(pieces(contiguous(), 3 * kMiB, 3 * kMiB - 5, 100, kNoLimit),
              ElementsAre(Piece{103 * kMiB - 5, 5}));
  EXPECT_THAT(pieces(contiguous(), 3 * kMiB, 3 * kMiB, 1, kNoLimit), IsEmpty());
  EXPECT_THAT(
      pieces(contiguous(), 3 * kMiB, std::numeric_limits<std::uint64_t>::max(), 1, kNoLimit),
      IsEmpty());
  EXPECT_THAT(
      pieces(contiguous(), 3 * kMiB, 0, std::numeric_limits<std::uint64_t>::max(), kNoLimit),
      ElementsAre(Piece{100 * kMiB, 3 * kMiB}));
}

TEST(Pieces, RangeAcrossStripsIsOneRunEach) {
  EXPECT_THAT(
      pieces(interleaved(), 8 * kMiB, kMiB, 4 * kMiB, kNoLimit),
      ElementsAre(Piece{101 * kMiB, kMiB}, Piece{200 * kMiB, 2 * kMiB}, Piece{102 * kMiB, kMiB}));
}

TEST(Pieces, ChunksThatTouchOnTheDeviceAreJoined) {
  const media::FileMap one_strip{2 * kMiB, {{0, 100 * kMiB, 8 * kMiB}}};
  EXPECT_THAT(pieces(one_strip, 8 * kMiB, 0, 8 * kMiB, kNoLimit),
              ElementsAre(Piece{100 * kMiB, 8 * kMiB}));
}

TEST(Pieces, RunsOnDifferentDevicesAreNotJoined) {
  const media::FileMap map{0, {{0, 100 * kMiB, 2 * kMiB}, {1, 102 * kMiB, 2 * kMiB}}};
  EXPECT_THAT(pieces(map, 4 * kMiB, kMiB, 2 * kMiB, kNoLimit),
              ElementsAre(Piece{101 * kMiB, kMiB, 0}, Piece{102 * kMiB, kMiB, 1}));
}

TEST(Pieces, NoMoreThanAskedFor) {
  EXPECT_THAT(pieces(interleaved(), 8 * kMiB, 0, 8 * kMiB, 2),
              ElementsAre(Piece{100 * kMiB, 2 * kMiB}, Piece{200 * kMiB, 2 * kMiB}));
}

TEST(Pieces, NothingForAnEmptyRange) {
  EXPECT_THAT(pieces(contiguous(), 3 * kMiB, 0, 0, kNoLimit), IsEmpty());
}

}  // namespace
}  // namespace famfs::mapping
