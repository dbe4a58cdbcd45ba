// SPDX-License-Identifier: Apache-2.0
// Contract: the kernel is told the map of a file, in its protocol's way, before the file is used; a
// replaced file system gives out no map.
#include "mapping/kernel_mapped.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "kmap/devices.h"
#include "kmap/uapi.h"
#include "testing/example_volume.h"

namespace famfs::mapping {
namespace {

using testing::ExampleVolume;
namespace uapi = kmap::uapi;

template <typename T>
T at(std::span<const std::byte> bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.subspan(offset, sizeof(T)).data(), sizeof(T));
  return value;
}

class Mapped : public ::testing::Test {
 protected:
  Mapped() : volume_(example_.open(testing::master_uuid())) {}

  tree::NodeId node(const char* path) { return volume_->tree()->lookup_path(path)->id; }
  kmap::Request ask(std::uint32_t opcode, std::uint64_t node) { return {opcode, 1, node, {}}; }
  int error_of(const std::function<void()>& act) {
    try {
      act();
    } catch (const base::Error& error) {
      return error.code();
    }
    return 0;
  }

  ExampleVolume example_;
  std::unique_ptr<volume::Volume> volume_;
};

TEST_F(Mapped, AFileOnAMissingDeviceIsNotOpened) {
  volume_->add_device(std::make_unique<testing::RecordingMemory>(), false);
  auto request = testing::a_file("both", 8 * testing::kMiB);
  request.interleave = alloc::Interleave{2, 2, 2 * testing::kMiB};
  volume_->create_file(request);
  const auto client = example_.open(testing::client_uuid());
  KernelMapped method(*client, kmap::Protocol::kFmap);
  fuse_file_info info{};
  EXPECT_EQ(error_of([&] { method.open(node("both"), info); }), EIO);
  EXPECT_EQ(error_of([&] { method.open(node("d/f1"), info); }), 0);
}

TEST_F(Mapped, GetFmapIsAnsweredFromTheTree) {
  KernelMapped method(*volume_, kmap::Protocol::kFmap);
  const auto simple = method.answer(ask(uapi::kGetFmap, node("d/f1")));
  ASSERT_TRUE(simple);
  EXPECT_EQ(at<uapi::FmapHeader>(*simple, 0).file_size, 3'000'000U);
  EXPECT_EQ(at<uapi::SimpleExt>(*simple, 32).offset, 10 * testing::kMiB);
  const auto striped = method.answer(ask(uapi::kGetFmap, node("striped")));
  ASSERT_TRUE(striped);
  EXPECT_EQ(at<uapi::FmapHeader>(*striped, 0).ext_type, 1U);
  EXPECT_EQ(at<uapi::Iext>(*striped, 32).nstrips, 3U);
  EXPECT_EQ(at<uapi::Iext>(*striped, 32).nbytes, 9'000'001U);
  EXPECT_EQ(method.statistics().maps_told, 2U);
}

TEST_F(Mapped, GetFmapOfWhatIsNoFileIsRefused) {
  KernelMapped method(*volume_, kmap::Protocol::kFmap);
  EXPECT_EQ(error_of([&] { method.answer(ask(uapi::kGetFmap, node("d"))); }), EISDIR);
  EXPECT_EQ(error_of([&] { method.answer(ask(uapi::kGetFmap, 4711)); }), ESTALE);
  EXPECT_EQ(error_of([&] { method.answer(ask(uapi::kGetFmap, ~0ULL)); }), ESTALE);
}

TEST_F(Mapped, GetDaxdevKnowsOneDevice) {
  KernelMapped method(*volume_, kmap::Protocol::kFmapV10);
  const auto first = method.answer(ask(uapi::kGetDaxdev, 0));
  ASSERT_TRUE(first);
  EXPECT_STREQ(at<uapi::DaxdevOut>(*first, 0).name, "test memory");
  EXPECT_EQ(error_of([&] { method.answer(ask(uapi::kGetDaxdev, 1)); }), ENODEV);
}

TEST_F(Mapped, OtherMessagesAreLibfuses) {
  KernelMapped fmap(*volume_, kmap::Protocol::kFmap);
  EXPECT_FALSE(fmap.answer(ask(uapi::kOpen, 2)));
  KernelMapped extent_map(*volume_, kmap::Protocol::kExtentMap);
  EXPECT_FALSE(extent_map.answer(ask(uapi::kGetFmap, 2)));
}

TEST_F(Mapped, GetFmapAfterTheFileSystemWasReplacedIsStale) {
  KernelMapped method(*volume_, kmap::Protocol::kFmap);
  example_.patch_superblock<std::uint64_t>(0, 0);
  volume_->check_identity();
  EXPECT_EQ(error_of([&] { method.answer(ask(uapi::kGetFmap, node("d/f1"))); }), ESTALE);
}

TEST_F(Mapped, PostedSeriesTakesFilesOfWholeUnits) {
  KernelMapped method(*volume_, kmap::Protocol::kFmapV10);
  for (const char* path : {"d/f1", "striped"}) {
    fuse_file_info answer{};
    answer.direct_io = 1;
    EXPECT_EQ(method.open(node(path), answer), 0U);
    EXPECT_EQ(answer.direct_io, 0U);
  }
  EXPECT_EQ(method.statistics().refused, 0U);
}

TEST_F(Mapped, InitAnswersNameTheProtocol) {
  EXPECT_EQ(KernelMapped(*volume_, kmap::Protocol::kFmap).init_answer().flags,
            uapi::kInitExt | uapi::kDaxFmap);
  EXPECT_EQ(KernelMapped(*volume_, kmap::Protocol::kExtentMap).init_answer().max_stack_depth, 1U);
}

}  // namespace
}  // namespace famfs::mapping
