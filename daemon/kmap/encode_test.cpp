// SPDX-License-Identifier: Apache-2.0
// Contract: maps become the kernel's structures byte for byte, and what does not fit is found
// before.
#include "kmap/encode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <span>

#include "base/error.h"
#include "kmap/devices.h"
#include "kmap/uapi.h"

namespace famfs::kmap {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kMiB = 1U << 20;

template <typename T>
T at(std::span<const std::byte> bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.subspan(offset, sizeof(T)).data(), sizeof(T));
  return value;
}

Map simple() { return {3 * kMiB, 0, {{0, 10 * kMiB, 2 * kMiB}, {0, 20 * kMiB, 2 * kMiB}}}; }

Map interleaved() {
  return {7 * kMiB, 2 * kMiB, {{0, 10 * kMiB, 4 * kMiB}, {1, 20 * kMiB, 4 * kMiB}}};
}

TEST(EncodeFmap, Simple) {
  const auto bytes = encode_fmap(simple());
  ASSERT_EQ(bytes.size(), 32U + 2 * 24);
  const auto header = at<uapi::FmapHeader>(bytes, 0);
  EXPECT_EQ(header.file_type, 0);
  EXPECT_EQ(header.fmap_version, 1);
  EXPECT_EQ(header.ext_type, 0U);
  EXPECT_EQ(header.nextents, 2U);
  EXPECT_EQ(header.file_size, 3 * kMiB);
  EXPECT_EQ(header.reserved1, 0U);
  const auto second = at<uapi::SimpleExt>(bytes, 32 + 24);
  EXPECT_EQ(second.devindex, 0U);
  EXPECT_EQ(second.offset, 20 * kMiB);
  EXPECT_EQ(second.len, 2 * kMiB);
}

TEST(EncodeFmap, Interleaved) {
  const auto bytes = encode_fmap(interleaved());
  ASSERT_EQ(bytes.size(), 32U + 24 + 2 * 24);
  EXPECT_EQ(at<uapi::FmapHeader>(bytes, 0).ext_type, 1U);
  EXPECT_EQ(at<uapi::FmapHeader>(bytes, 0).nextents, 1U);
  const auto extent = at<uapi::Iext>(bytes, 32);
  EXPECT_EQ(extent.nstrips, 2U);
  EXPECT_EQ(extent.chunk_size, 2 * kMiB);
  EXPECT_EQ(extent.nbytes, 7 * kMiB);
  EXPECT_EQ(at<uapi::SimpleExt>(bytes, 32 + 24 + 24).devindex, 1U);
  EXPECT_EQ(at<uapi::SimpleExt>(bytes, 32 + 24 + 24).offset, 20 * kMiB);
}

TEST(EncodeBackingMap, SimpleHasNoGaps) {
  const auto bytes = encode_backing_map(77, simple(), 5);
  ASSERT_EQ(bytes.size(), 32U + 2 * 48);
  const auto head = at<uapi::BackingMap>(bytes, 0);
  EXPECT_EQ(head.backing_id, 77U);
  EXPECT_EQ(head.num_extents, 2U);
  EXPECT_EQ(head.flags, 1U);
  const auto second = at<uapi::BackingExtent>(bytes, 32 + 48);
  EXPECT_EQ(second.offset, 2 * kMiB);
  EXPECT_EQ(second.length, 2 * kMiB);
  EXPECT_EQ(second.backing_id, 5U);
  EXPECT_EQ(second.addr, 20 * kMiB);
}

TEST(EncodeBackingMap, InterleavedIsOneCycleOfChunks) {
  const auto bytes = encode_backing_map(77, interleaved(), 5);
  EXPECT_EQ(at<uapi::BackingMap>(bytes, 0).flags, 3U);
  const auto second = at<uapi::BackingExtent>(bytes, 32 + 48);
  EXPECT_EQ(second.offset, 2 * kMiB);
  EXPECT_EQ(second.length, 2 * kMiB);
  EXPECT_EQ(second.backing_id, 6U);
  EXPECT_EQ(second.addr, 20 * kMiB);
}

TEST(Misfit, EveryFileOfTheFormatFitsOurKernels) {
  for (const Protocol protocol : {Protocol::kFmap, Protocol::kExtentMap}) {
    EXPECT_EQ(misfit(protocol, simple()), "");
    EXPECT_EQ(misfit(protocol, interleaved()), "");
    EXPECT_EQ(misfit(protocol, {4096, 0, {{0, 4096, 4096}}}), "");
    EXPECT_EQ(misfit(protocol, {1, 4096, std::vector<Strip>(16, {0, 4096, 4096})}), "");
  }
}

TEST(Misfit, ThePostedSeriesWantsLargePagesAndDeviceZero) {
  EXPECT_EQ(misfit(Protocol::kFmapV10, simple()), "");
  EXPECT_THAT(misfit(Protocol::kFmapV10, interleaved()), HasSubstr("device 1"));
  EXPECT_THAT(misfit(Protocol::kFmapV10, {4096, 0, {{0, 4096, 2 * kMiB}}}), HasSubstr("2097152"));
  EXPECT_THAT(misfit(Protocol::kFmapV10, {4096, 0, {{0, 2 * kMiB, 4096}}}), HasSubstr("2097152"));
  EXPECT_EQ(misfit(Protocol::kFmapV10, {1, 0, std::vector<Strip>(32, {0, 0, 2 * kMiB})}), "");
  EXPECT_THAT(misfit(Protocol::kFmapV10, {1, 0, std::vector<Strip>(33, {0, 0, 2 * kMiB})}),
              HasSubstr("33 extents"));
  EXPECT_THAT(misfit(Protocol::kFmapV10, {1, 4096, {{0, 0, 2 * kMiB}}}), HasSubstr("chunk size"));
}

TEST(Misfit, LimitsOfOurKernels) {
  EXPECT_THAT(misfit(Protocol::kFmap, {1, 0, {}}), HasSubstr("0 extents"));
  EXPECT_THAT(misfit(Protocol::kFmap, {1, 4096, std::vector<Strip>(33, {0, 0, 4096})}),
              HasSubstr("33 strips"));
  EXPECT_EQ(misfit(Protocol::kExtentMap, {1, 4096, std::vector<Strip>(33, {0, 0, 4096})}), "");
  EXPECT_THAT(misfit(Protocol::kExtentMap, {1, 0, std::vector<Strip>(1366, {0, 0, 4096})}),
              HasSubstr("1366 extents"));
  EXPECT_THAT(misfit(Protocol::kFmap, {1, 1ULL << 32, {{0, 0, 4096}}}), HasSubstr("chunk size"));
  EXPECT_THAT(misfit(Protocol::kFmap, {1, 0, {{64, 0, 4096}}}), HasSubstr("device 64"));
  EXPECT_THAT(misfit(Protocol::kFmap, {1, 0, {{0, 0, 0}}}), HasSubstr("0 bytes"));
  EXPECT_THAT(misfit(Protocol::kFmap, {1, 0, {{0, 100, 4096}}}), HasSubstr("at 100"));
}

TEST(EncodeDaxdev, PathWithItsEnd) {
  const auto out = encode_daxdev(3, "/dev/dax0.0");
  EXPECT_EQ(out.index, 3);
  EXPECT_STREQ(out.name, "/dev/dax0.0");
  EXPECT_STREQ(encode_daxdev(0, std::string(255, 'x')).name, std::string(255, 'x').c_str());
  EXPECT_THROW(encode_daxdev(0, std::string(256, 'x')), base::Error);
}

}  // namespace
}  // namespace famfs::kmap
