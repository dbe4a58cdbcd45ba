// SPDX-License-Identifier: Apache-2.0
// Two hosts with one identity, each with its own cache: neither goes on appending once it could
// know of the other, and what was reported created is lost only where the README says so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "base/bytes.h"
#include "testing/cached_memory.h"
#include "testing/example_volume.h"
#include "testing/temporary_directory.h"
#include "volume/check.h"
#include "volume/volume.h"

namespace famfs::volume {
namespace {

using ::famfs::testing::a_directory;
using ::famfs::testing::a_file;
using ::famfs::testing::CachedMemory;
using ::famfs::testing::client_uuid;
using ::famfs::testing::error_code_of;
using ::famfs::testing::master_uuid;
using ::famfs::testing::Medium;
using ::testing::HasSubstr;

class SecondMaster : public ::testing::Test {
 protected:
  SecondMaster() {
    CachedMemory memory(medium_);
    format(memory, {.system_uuid = master_uuid()});
    a_ = mount(&memory_of_a_);
    b_ = mount();
  }
  std::unique_ptr<Volume> mount(CachedMemory** memory = nullptr,
                                const base::Uuid& host = master_uuid()) {
    auto opened = std::make_unique<CachedMemory>(medium_);
    if (memory != nullptr) *memory = opened.get();
    return Volume::open(std::move(opened), {.system_uuid = host});
  }
  // A file system that has an entry already: the first one is in the line of the counters, and its
  // write-back could undo an announcement.
  void start_anew() {
    medium_ = Medium();
    CachedMemory memory(medium_);
    format(memory, {.system_uuid = master_uuid()});
    mount()->make_directory(a_directory("d"));
    a_ = mount(&memory_of_a_);
  }
  CheckReport fsck() {
    CachedMemory memory(medium_);
    return check(memory, {});
  }
  bool is_in_the_log(const std::string& path) {
    return mount(nullptr, client_uuid())->tree()->lookup_path(path) != nullptr;
  }
  static int create(Volume& volume, const std::string& name) {
    return error_code_of([&] { volume.create_file(a_file(name, 1)); });
  }

  Medium medium_;
  CachedMemory* memory_of_a_ = nullptr;
  std::unique_ptr<Volume> a_;
  std::unique_ptr<Volume> b_;
};

TEST_F(SecondMaster, IsRefusedAfterTheFirstAppended) {
  EXPECT_EQ(create(*a_, "a"), 0);
  EXPECT_EQ(b_->other_master(), "");
  EXPECT_EQ(create(*b_, "b"), EROFS);
  EXPECT_THAT(b_->other_master(), HasSubstr("1 log entries before 1"));
  // It goes on as a client does, and the other as the only master.
  EXPECT_NE(b_->tree()->lookup_path("a"), nullptr);
  EXPECT_EQ(create(*a_, "c"), 0);
  EXPECT_EQ(b_->refresh().entries, 1U);
  EXPECT_EQ(create(*b_, "b"), EROFS);
  EXPECT_EQ(a_->other_master(), "");
  EXPECT_TRUE(fsck().clean());
  // A new mount starts from what the log says.
  b_ = mount();
  EXPECT_EQ(create(*b_, "b"), 0);
  EXPECT_EQ(create(*a_, "d"), EROFS);
}

TEST_F(SecondMaster, IsNoticedByARefresh) {
  EXPECT_EQ(create(*a_, "a"), 0);
  EXPECT_EQ(b_->refresh().entries, 1U);
  EXPECT_NE(b_->other_master(), "");
}

TEST_F(SecondMaster, OwnAppendsAreNotMistaken) {
  for (const char* name : {"a", "b", "c"}) {
    EXPECT_EQ(create(*a_, name), 0);
    a_->refresh();
  }
  EXPECT_EQ(a_->other_master(), "");
}

TEST_F(SecondMaster, ClientsDoNotLookForOne) {
  const auto client = mount(nullptr, client_uuid());
  EXPECT_EQ(create(*a_, "a"), 0);
  client->refresh();
  EXPECT_EQ(client->other_master(), "");
}

TEST_F(SecondMaster, CountersSkewedWhileMounted) {
  EXPECT_EQ(create(*a_, "a"), 0);
  CachedMemory memory(medium_);
  memory.store_word(media::kLogOffset + media::kNextSeqnumOffset, 2);
  memory.publish(media::kLogOffset, 64);
  EXPECT_EQ(create(*a_, "b"), EROFS);
  EXPECT_THAT(a_->other_master(), HasSubstr("next_seqnum and next_index are 2 and 1"));
  mount();  // mends it
  EXPECT_TRUE(fsck().clean());
}

// A master that was stopped between its last look at the counters and its store, and goes on when
// the other has announced the same entry.
TEST_F(SecondMaster, OverwrittenEntryIsNoticedAtTheNextAppend) {
  EXPECT_EQ(create(*a_, "a"), 0);
  {
    CachedMemory memory(medium_);
    memory.store(media::log_entry_offset(0),
                 media::encode({0, media::DirectoryEntry{"other", 0, 0, 0755}}));
    memory.publish(media::log_entry_offset(0), media::kLogEntrySize);
  }
  EXPECT_EQ(create(*a_, "b"), EROFS);
  EXPECT_THAT(a_->other_master(), HasSubstr("log entry 0 is not what this mount wrote"));
}

// Lines of an entry of the other master, which is stopped in the middle of its store, come between
// ours: before we announce our entry, and after. No reader would get past what that is.
TEST_F(SecondMaster, EntryOfTwoMastersIsMadeOneOfOurs) {
  for (const uint64_t announced : {1, 2}) {
    SCOPED_TRACE(announced);
    start_anew();
    const uint64_t entry = media::log_entry_offset(1);
    bool met = false;
    memory_of_a_->on_step = [&] {
      CachedMemory other(medium_);
      const auto word_at = [&other](uint64_t offset) {
        return base::load<uint64_t>(other.acquire(offset, sizeof(uint64_t)), 0);
      };
      if (met || word_at(entry) != 1 ||
          word_at(media::kLogOffset + media::kNextIndexOffset) != announced) {
        return;
      }
      met = true;
      constexpr size_t kHalf = 256;
      const auto theirs = media::encode({1, media::DirectoryEntry{"theirs", 0, 0, 0755}});
      other.store(entry + kHalf, std::span(theirs).subspan(kHalf));
      other.publish(entry + kHalf, media::kLogEntrySize - kHalf);
    };
    EXPECT_EQ(create(*a_, "a"), 0);
    memory_of_a_->on_step = nullptr;
    EXPECT_TRUE(met);
    EXPECT_TRUE(fsck().clean());
    EXPECT_TRUE(is_in_the_log("a"));
  }
}

// The other master creates a file between any two steps of ours.
TEST_F(SecondMaster, CreatingMeanwhileIsNoticed) {
  int detected = 0;
  bool inside = true;
  for (int at = 0; inside; ++at) {
    SCOPED_TRACE(at);
    start_anew();
    b_ = mount();
    inside = false;
    int of_b = -1;
    memory_of_a_->on_step = [&, steps = 0]() mutable {
      if (steps++ != at) return;
      inside = true;
      of_b = create(*b_, "b");
    };
    const int of_a = create(*a_, "a");
    memory_of_a_->on_step = nullptr;
    if (!inside) break;
    // What the log holds is sound.
    EXPECT_TRUE(of_a == 0 || of_a == EROFS) << of_a;
    EXPECT_TRUE(of_b == 0 || of_b == EROFS) << of_b;
    EXPECT_TRUE(fsck().clean());
    EXPECT_EQ(fsck().files, 1U);
    // What was refused is not in it, or stands in the place of what it overwrote.
    EXPECT_FALSE(of_b != 0 && is_in_the_log("b"));
    EXPECT_FALSE(of_a != 0 && is_in_the_log("a") && (of_b != 0 || is_in_the_log("b")));
    // One that goes on inside the other's is seen by it: they are never both told "created".
    EXPECT_FALSE(of_a == 0 && of_b == 0);
    EXPECT_FALSE(of_a == 0 && !is_in_the_log("a"));
    // The one that was told so and is lost is told at the next create.
    const int again_a = create(*a_, "a2");
    const int again_b = create(*b_, "b2");
    EXPECT_FALSE(again_a == 0 && again_b == 0);
    EXPECT_TRUE(of_a != 0 || is_in_the_log("a") || again_a == EROFS);
    EXPECT_TRUE(of_b != 0 || is_in_the_log("b") || again_b == EROFS);
    EXPECT_TRUE(fsck().clean());
    ++detected;
  }
  EXPECT_GE(detected, 10);
}

}  // namespace
}  // namespace famfs::volume
