// SPDX-License-Identifier: Apache-2.0
// Contract: a kernel is offered no protocol that it does not have, whatever its FUSE_INIT looks
// like.
#include "kmap/offer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kmap/message.h"
#include "kmap/uapi.h"

namespace famfs::kmap {
namespace {

using testing::HasSubstr;

constexpr Generation kLinux73{7, 3, false};
constexpr Generation kPosted{7, 0, true};

std::vector<std::byte> init_body(std::uint32_t minor, std::uint64_t flags, std::size_t size = 64) {
  uapi::InitIn in{};
  in.major = 7;
  in.minor = minor;
  in.flags = static_cast<std::uint32_t>(flags);
  in.flags2 = static_cast<std::uint32_t>(flags >> 32);
  const auto bytes = bytes_of(in);
  return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)};
}

Offer offer(std::uint64_t flags, const Generation& generation = kLinux73, unsigned minor = 46) {
  return {7, minor, flags, generation};
}

TEST(ParseInit, BothHalvesOfTheFlags) {
  const auto parsed = parse_init(init_body(46, uapi::kInitExt | uapi::kDaxFmap | 1), kLinux73);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->minor, 46U);
  EXPECT_EQ(parsed->flags, uapi::kInitExt | uapi::kDaxFmap | 1);
}

TEST(ParseInit, Flags2CountsOnlyWithItsFlag) {
  const auto parsed = parse_init(init_body(46, uapi::kDaxFmap), kLinux73);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->flags, 0U);
}

TEST(ParseInit, OldKernelsSendLess) {
  const auto parsed = parse_init(init_body(31, uapi::kInitExt | uapi::kDaxFmap, 16), kLinux73);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->flags, uapi::kInitExt);
  for (std::size_t size = 0; size < 16; ++size) {
    EXPECT_FALSE(parse_init(init_body(31, 0, size), kLinux73)) << size;
  }
  for (std::size_t size = 16; size <= 64; ++size) {
    EXPECT_TRUE(parse_init(init_body(31, uapi::kInitExt, size), kLinux73)) << size;
  }
}

TEST(Missing, ExtentMapNeedsBothBits) {
  EXPECT_EQ(missing(Protocol::kExtentMap, offer(uapi::kPassthrough | uapi::kPassthroughV2)), "");
  EXPECT_THAT(missing(Protocol::kExtentMap, offer(uapi::kPassthroughV2)), HasSubstr("bit 37"));
  EXPECT_THAT(missing(Protocol::kExtentMap, offer(uapi::kPassthrough)), HasSubstr("bit 45"));
}

TEST(Missing, FmapNeedsItsBit) {
  EXPECT_EQ(missing(Protocol::kFmap, offer(uapi::kDaxFmap)), "");
  EXPECT_THAT(missing(Protocol::kFmap, offer(~uapi::kDaxFmap)), HasSubstr("bit 62"));
}

TEST(Missing, Bit43IsTakenOnlyWhereAllSignsAgree) {
  EXPECT_EQ(missing(Protocol::kFmapV10, offer(uapi::kBit43, kPosted)), "");
  // As a stock 7.3 says it with io-uring on.
  EXPECT_THAT(missing(Protocol::kFmapV10, offer(uapi::kBit43 | 1ULL << 41, kLinux73)),
              HasSubstr("BUFPOOL"));
  EXPECT_THAT(missing(Protocol::kFmapV10, offer(uapi::kBit43, {7, 3, true})), HasSubstr("BUFPOOL"));
  EXPECT_THAT(missing(Protocol::kFmapV10, offer(uapi::kBit43, {8, 0, true})), HasSubstr("BUFPOOL"));
  EXPECT_THAT(missing(Protocol::kFmapV10, offer(uapi::kBit43, {7, 0, false})),
              HasSubstr("functions"));
  EXPECT_THAT(missing(Protocol::kFmapV10, offer(uapi::kBit43, kPosted, 45)), HasSubstr("7.45"));
  EXPECT_THAT(missing(Protocol::kFmapV10, offer(uapi::kBit43, kPosted, 47)), HasSubstr("7.47"));
  EXPECT_THAT(missing(Protocol::kFmapV10, offer(uapi::kBit43 | uapi::kDaxFmap, kPosted)),
              HasSubstr("bit 62"));
  EXPECT_THAT(missing(Protocol::kFmapV10, offer(0, kPosted)), HasSubstr("bit 43"));
}

TEST(Best, InOrderOfPreference) {
  const std::uint64_t extent_map = uapi::kPassthrough | uapi::kPassthroughV2;
  EXPECT_EQ(best(offer(extent_map | uapi::kDaxFmap)), Protocol::kExtentMap);
  EXPECT_EQ(best(offer(uapi::kPassthrough | uapi::kDaxFmap)), Protocol::kFmap);
  EXPECT_EQ(best(offer(uapi::kPassthrough | uapi::kBit43, kPosted)), Protocol::kFmapV10);
  EXPECT_EQ(best(offer(uapi::kPassthrough | uapi::kBit43)), std::nullopt);
  EXPECT_EQ(best(offer(0)), std::nullopt);
  EXPECT_EQ(best_for_mount(offer(extent_map)), Protocol::kExtentMap);
  EXPECT_EQ(best_for_mount(offer(uapi::kDaxFmap)), Protocol::kFmap);
  EXPECT_EQ(best_for_mount(offer(uapi::kBit43, kPosted)), std::nullopt);
}

TEST(Release, IsParsedOrNewest) {
  EXPECT_EQ(parse_release("7.3.4-famlab").release_major, 7U);
  EXPECT_EQ(parse_release("7.3.4-famlab").release_minor, 3U);
  EXPECT_EQ(parse_release("7.0").release_minor, 0U);
  for (const char* odd : {"", "7", "7.", "x.y", "7.x"}) {
    EXPECT_GT(parse_release(odd).release_major, 1000U) << odd;
  }
}

}  // namespace
}  // namespace famfs::kmap
