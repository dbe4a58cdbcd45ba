// SPDX-License-Identifier: Apache-2.0
// Contract: mkfs, mount, create, fsck and logplay ask for superblock and log and touch nothing
// else, so that they work where file data is out of reach.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/error.h"
#include "testing/example_volume.h"
#include "volume/check.h"
#include "volume/format.h"

namespace famfs::volume {
namespace {

// Only what reach() asked for can be used.
class PartialMemory final : public memory::SharedMemory {
 public:
  explicit PartialMemory(std::shared_ptr<base::Mapping> bytes)
      : SharedMemory("partial memory", bytes->size(), true), bytes_(std::move(bytes)) {
    set_base(bytes_->data());
    set_reachable(0);
  }

  const char* backend() const noexcept override { return "partial"; }
  void reach(uint64_t length) override {
    check_on_device(0, length, "reach");
    set_reachable(std::max(reachable(), length));
  }
  bool reaches_files() const noexcept override { return false; }

  uint64_t reached() const { return reachable(); }

 private:
  void write_back_lines(uint64_t /*offset*/, uint64_t /*length*/) override {}
  void invalidate_lines(uint64_t /*offset*/, uint64_t /*length*/) override {}
  void store_fence() override {}
  void load_fence() override {}

  std::shared_ptr<base::Mapping> bytes_;
};

class Reach : public ::testing::Test {
 protected:
  std::unique_ptr<PartialMemory> open() { return std::make_unique<PartialMemory>(bytes_); }

  static constexpr uint64_t kLog = 16ULL << 20;
  std::shared_ptr<base::Mapping> bytes_ =
      std::make_shared<base::Mapping>(base::Mapping::anonymous(media::kMinimumDeviceSize));
};

TEST_F(Reach, SuperblockAndLogAreEnough) {
  const auto formatting = open();
  format(*formatting, {.log_len = kLog, .system_uuid = testing::master_uuid()});
  EXPECT_EQ(formatting->reached(), media::file_space_offset(kLog));

  auto mounting = open();
  const PartialMemory& mounted = *mounting;
  const auto volume = Volume::open(std::move(mounting), {.system_uuid = testing::master_uuid()});
  volume->create_file(testing::a_file("file", 5 * testing::kMiB));
  EXPECT_TRUE(volume->check_identity());
  EXPECT_EQ(volume->refresh().entries, 0U);
  EXPECT_EQ(mounted.reached(), media::file_space_offset(kLog));

  const auto checking = open();
  EXPECT_TRUE(check(*checking, {testing::master_uuid(), 8}).clean());
  EXPECT_EQ(checking->reached(), media::file_space_offset(kLog));

  const auto replaying = open();
  EXPECT_EQ(replay(*replaying).files, 1U);
  EXPECT_EQ(replaying->reached(), media::file_space_offset(kLog));

  const auto killing = open();
  EXPECT_TRUE(kill(*killing, true));
  EXPECT_EQ(killing->reached(), memory::kCacheLine);
}

TEST_F(Reach, WhatIsOutOfReachIsAnError) {
  const auto memory = open();
  memory->reach(4096);
  EXPECT_NO_THROW(memory->acquire(0, 4096));
  try {
    memory->acquire(4096, 1);
    FAIL() << "reached";
  } catch (const base::Error& error) {
    EXPECT_EQ(error.code(), ERANGE);
  }
  EXPECT_THROW(memory->reach(memory->size() + 1), base::Error);
}

}  // namespace
}  // namespace famfs::volume
