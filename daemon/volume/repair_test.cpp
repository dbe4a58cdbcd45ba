// SPDX-License-Identifier: Apache-2.0
#include "volume/repair.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "log/repair.h"
#include "testing/example_volume.h"
#include "testing/temporary_directory.h"
#include "volume/check.h"

namespace famfs::volume {
namespace {

using ::famfs::testing::client_uuid;
using ::famfs::testing::error_code_of;
using ::famfs::testing::ExampleVolume;
using ::famfs::testing::master_uuid;
using ::famfs::testing::RecordingMemory;
using ::testing::HasSubstr;

constexpr uint64_t kCapacity = media::log_capacity(media::kMinimumLogLength);

class Repair : public ::testing::Test {
 protected:
  void set_counters(uint64_t seqnum, uint64_t index) {
    example_.patch_header<uint64_t>(32, seqnum);
    example_.patch_header<uint64_t>(40, index);
  }
  // Takes the cache line that holds byte `offset` of an entry away, as if it had never arrived.
  void lose_line(uint64_t index, uint64_t offset) {
    const uint64_t at = media::log_entry_offset(index) + offset;
    const uint64_t begin = std::max(at / 64 * 64, media::log_entry_offset(index));
    const uint64_t end = std::min(at / 64 * 64 + 64, media::log_entry_offset(index + 1));
    std::memset(example_.raw(begin, end - begin).data(), 0, end - begin);
  }
  RepairPlan plan() {
    RecordingMemory memory(example_.bytes(), false);
    return plan_repair(memory);
  }
  CheckReport fsck() {
    RecordingMemory memory(example_.bytes(), false);
    return check(memory, {});
  }
  // Expects a repair to `next` entries, does it, and expects a clean file system with them.
  void expect_repair(uint64_t next, const char* reason) {
    const RepairPlan found = plan();
    ASSERT_TRUE(found.wanted) << found.reason;
    EXPECT_FALSE(found.refused);
    EXPECT_EQ(*found.wanted, (Counters{next, next}));
    EXPECT_THAT(found.reason, HasSubstr(reason));
    EXPECT_FALSE(fsck().clean());
    RecordingMemory memory(example_.bytes());
    apply_repair(memory, found);
    EXPECT_EQ(memory.counters().lines_written_back, 1U);
    const CheckReport report = fsck();
    EXPECT_TRUE(report.clean()) << format_report(report, {});
    EXPECT_EQ(report.entries_used, next);
    EXPECT_FALSE(example_.open(client_uuid())->last_refresh().stopped);
    EXPECT_FALSE(plan().wanted);
  }
  void expect_refusal(const char* reason) {
    const RepairPlan found = plan();
    EXPECT_TRUE(found.refused);
    EXPECT_FALSE(found.wanted);
    EXPECT_THAT(found.reason, HasSubstr(reason));
  }

  ExampleVolume example_;
};

TEST_F(Repair, NothingToDo) {
  const RepairPlan found = plan();
  EXPECT_FALSE(found.wanted);
  EXPECT_FALSE(found.refused);
}

TEST_F(Repair, SeqnumSkewed) {
  set_counters(9, 4);
  expect_repair(4, "announced and whole");
}

TEST_F(Repair, AppendNotAnnounced) {
  set_counters(3, 3);
  expect_repair(4, "1 log entries after the announced ones are whole");
}

TEST_F(Repair, AppendHalfAnnounced) {
  set_counters(4, 2);
  expect_repair(4, "2 log entries after");
}

TEST_F(Repair, AnnouncedButNeverWritten) {
  set_counters(6, 6);
  expect_repair(4, "4 to 5 are announced and were never written");
}

TEST_F(Repair, CountersBeyondTheLog) {
  set_counters(~uint64_t{0}, ~uint64_t{0});
  expect_repair(4, "zeros follow");
  set_counters(4, kCapacity + 1);
  expect_repair(4, "zeros follow");
}

TEST_F(Repair, LastAppendTorn) {
  for (const uint64_t offset : {0, 40, 128, 150, 160, 184, 208, 540}) {
    SCOPED_TRACE(offset);
    example_ = {};
    lose_line(3, offset);
    expect_repair(3, "lacks whole cache lines");
  }
}

TEST_F(Repair, TornDirectory) {
  set_counters(1, 1);
  lose_line(0, 28);
  expect_repair(0, "lacks whole cache lines");
}

TEST_F(Repair, TornDevice) {
  for (const uint64_t offset : {16, 540}) {
    SCOPED_TRACE(offset);
    example_ = {};
    example_.open(master_uuid())->add_device(std::make_unique<RecordingMemory>(), false);
    lose_line(4, offset);
    expect_repair(4, "lacks whole cache lines");
  }
}

// A line of zeros that is zeros in the whole entry too shows nothing.
TEST_F(Repair, DamagedLastEntryIsKept) {
  example_.entry(3)[30] ^= std::byte{1};
  expect_refusal("dropping them may lose files");
  example_.entry(3)[30] ^= std::byte{1};
  set_counters(3, 3);
  example_.entry(2)[20] ^= std::byte{1};
  expect_refusal("dropping them may lose files");
}

TEST_F(Repair, OnlyTheLastEntryIsTorn) {
  lose_line(2, 540);
  lose_line(3, 540);
  expect_refusal("dropping them may lose files");
}

TEST_F(Repair, DamageInTheMiddleIsNotTouched) {
  example_.entry(1)[30] ^= std::byte{1};
  EXPECT_FALSE(plan().wanted);
  EXPECT_FALSE(fsck().clean());
  // Not even announced ones are judged behind it, but the counters can agree with each other.
  set_counters(4, 3);
  EXPECT_EQ(plan().wanted, (Counters{3, 3}));
}

TEST_F(Repair, CountersBeyondTheLogAndAnUnfinishedEntry) {
  example_.entry(3)[30] ^= std::byte{1};
  set_counters(kCapacity + 1, kCapacity + 1);
  expect_refusal("may be an entry that was announced");
}

TEST_F(Repair, CountersBeyondTheLogAndDamage) {
  example_.patch_path(2, "zz/f");
  set_counters(kCapacity + 1, kCapacity + 1);
  expect_refusal("relpath");
}

TEST_F(Repair, OtherDamageOfHeaderAndSuperblockIsRefused) {
  example_.patch_header<uint64_t>(16, 3);
  expect_refusal("last_index");
  example_.patch_superblock<uint64_t>(32, 3);
  expect_refusal("alloc_unit");
  example_.patch_superblock<uint64_t>(0, 3);
  expect_refusal("no famfs");
}

TEST_F(Repair, OfAnotherStateThanPlannedIsRefused) {
  set_counters(3, 3);
  const RepairPlan found = plan();
  RecordingMemory memory(example_.bytes());
  set_counters(4, 4);
  EXPECT_EQ(error_code_of([&] { apply_repair(memory, found); }), EBUSY);
  set_counters(3, 3);
  format(memory, {.force = true});
  EXPECT_EQ(error_code_of([&] { apply_repair(memory, found); }), ESTALE);
  EXPECT_EQ(fsck().entries_used, 0U);
}

TEST_F(Repair, SavedCopyHasWhatUndoesIt) {
  set_counters(4, 3);
  EXPECT_EQ(format_saved_copy(plan(), "/dev/\"x"),
            fmt::format(R"({{"schema":1,"device":"/dev/\"x","fs_uuid":"{}","reason":"the 1 log )"
                        R"(entries after the announced ones are whole and fit: an append ended )"
                        R"(before it announced them","words":[{{"field":"next_seqnum",)"
                        R"("offset":2097184,"before":4,"after":4}},{{"field":"next_index",)"
                        R"("offset":2097192,"before":3,"after":4}}]}})"
                        "\n",
                        example_.superblock().fs_uuid.to_string()));
}

TEST_F(Repair, TextForPeople) {
  set_counters(4, 3);
  RepairReport report{.plan = plan()};
  EXPECT_THAT(format_repair(report), HasSubstr("next_index 3 -> 4"));
  EXPECT_THAT(format_repair(report), HasSubstr("nothing was changed"));
  report.applied = true;
  report.saved_copy = "file.json";
  EXPECT_THAT(format_repair(report), HasSubstr("file.json"));
}

// What follows the last entry is told apart, and harmless, where it does not fit.
TEST_F(Repair, RemainsAreToldApart) {
  EXPECT_EQ(fsck().remains, Remains::kNone);
  set_counters(3, 3);
  EXPECT_EQ(fsck().unannounced, 1U);
  example_.patch_path(3, "d/f1");
  EXPECT_EQ(fsck().remains, Remains::kContradicting);
  EXPECT_EQ(fsck().unannounced, 0U);
  EXPECT_TRUE(fsck().clean());
  EXPECT_THAT(format_report(fsck(), {}), HasSubstr("contradicting"));
  lose_line(3, 540);
  EXPECT_EQ(fsck().remains, Remains::kUnfinished);
  EXPECT_TRUE(fsck().clean());
  EXPECT_FALSE(plan().wanted);
}

}  // namespace
}  // namespace famfs::volume
