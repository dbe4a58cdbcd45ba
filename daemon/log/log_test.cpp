// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/bytes.h"
#include "log/reader.h"
#include "log/repair.h"
#include "log/writer.h"
#include "testing/recording_memory.h"
#include "testing/temporary_directory.h"

namespace famfs::log {
namespace {

using ::famfs::testing::error_code_of;
using ::famfs::testing::RecordingMemory;
using ::testing::ElementsAre;
using Event = RecordingMemory::Event;
using Kind = RecordingMemory::Kind;

std::vector<media::EntryBody> directories(uint64_t count, uint64_t first = 0) {
  std::vector<media::EntryBody> bodies;
  bodies.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    bodies.push_back(media::DirectoryEntry{fmt::format("d{}", first + i), 0, 0, 0755});
  }
  return bodies;
}

// Offset of the first and end of the last line of entries [first, last].
std::pair<uint64_t, uint64_t> lines(uint64_t first, uint64_t last) {
  const uint64_t begin = media::log_entry_offset(first) / 64 * 64;
  const uint64_t end = (media::log_entry_offset(last + 1) + 63) / 64 * 64;
  return {begin, end - begin};
}

class Log : public ::testing::Test {
 protected:
  Log() {
    superblock_.device_size = memory_.size();
    Writer(memory_, superblock_).create();
    memory_.events.clear();
  }
  media::LogHeader header() { return *Reader(memory_, superblock_).read_header().value; }
  void append(uint64_t count) { append(directories(count, header().next_index)); }
  void append(const std::vector<media::EntryBody>& bodies) {
    Writer writer(memory_, superblock_);
    writer.set_next(writer.store_entries(header(), bodies));
    memory_.events.clear();
  }
  void flip(uint64_t index) {
    memory_.raw(media::log_entry_offset(index) + 20, 1)[0] ^= std::byte{1};
  }
  void set_next(uint64_t seqnum, uint64_t index) {
    base::store<uint64_t>(memory_.raw(media::kLogOffset, 48), 32, seqnum);
    base::store<uint64_t>(memory_.raw(media::kLogOffset, 48), 40, index);
  }
  LogEnd end() {
    Reader reader(memory_, superblock_);
    return find_end(reader, header().next_index);
  }

  RecordingMemory memory_;
  media::Superblock superblock_;
};

TEST_F(Log, CreateWritesZerosThenPublishesTheWholeLog) {
  Writer(memory_, superblock_).create();
  EXPECT_THAT(memory_.events,
              ElementsAre(Event{Kind::kWriteBack, media::kLogOffset, media::kMinimumLogLength},
                          Event{Kind::kStoreFence}));
  EXPECT_EQ(header(), media::LogHeader{});
}

TEST_F(Log, AppendOrderIsEntriesFenceHeaderFence) {
  append(3);
  const auto entries = lines(3, 4);
  uint64_t announced_at_first_fence = 99;
  bool stored_before_write_back = false;
  memory_.on_event = [&](const Event& event) {
    if (memory_.events.empty()) {
      stored_before_write_back =
          event.kind == Kind::kWriteBack &&
          media::is_intact(memory_.view(media::log_entry_offset(4), media::kLogEntrySize), 4);
    }
    if (memory_.events.size() == 1) {
      announced_at_first_fence = base::load<uint64_t>(memory_.view(media::kLogOffset, 48), 40);
    }
  };
  const media::LogHeader before{.next_seqnum = 3, .next_index = 3};
  Writer writer(memory_, superblock_);
  writer.set_next(writer.store_entries(before, directories(2, 3)));
  EXPECT_THAT(
      memory_.events,
      ElementsAre(Event{Kind::kWriteBack, entries.first, entries.second}, Event{Kind::kStoreFence},
                  Event{Kind::kWriteBack, media::kLogOffset, 64}, Event{Kind::kStoreFence}));
  EXPECT_TRUE(stored_before_write_back);
  EXPECT_EQ(announced_at_first_fence, 3U);
  memory_.on_event = nullptr;
  EXPECT_EQ(header(), (media::LogHeader{.next_seqnum = 5, .next_index = 5}));
}

TEST_F(Log, AppendRefusesBeforeStoring) {
  Writer writer(memory_, superblock_);
  const uint64_t capacity = media::log_capacity(superblock_.log_len);
  const media::LogHeader last{.next_seqnum = capacity - 1, .next_index = capacity - 1};
  EXPECT_EQ(error_code_of([&] { writer.store_entries(last, directories(2)); }), ENOSPC);
  const media::LogHeader full{.next_seqnum = capacity, .next_index = capacity};
  EXPECT_EQ(error_code_of([&] { writer.store_entries(full, directories(1)); }), ENOSPC);
  EXPECT_EQ(error_code_of([&] { writer.store_entries({.next_seqnum = 1}, directories(1)); }),
            EUCLEAN);
  auto bodies = directories(2);
  bodies[1] = media::DirectoryEntry{std::string(80, 'x'), 0, 0, 0755};
  EXPECT_EQ(error_code_of([&] { writer.store_entries({}, bodies); }), EINVAL);
  EXPECT_THAT(memory_.events, ElementsAre());
  EXPECT_EQ(memory_.raw(media::log_entry_offset(0) + 28, 1)[0], std::byte{0});
}

TEST_F(Log, TheLastEntryFits) {
  const uint64_t last = media::log_capacity(superblock_.log_len) - 1;
  set_next(last, last);
  append(1);
  EXPECT_EQ(header().next_index, last + 1);
  EXPECT_LE(media::log_entry_offset(last + 1), media::file_space_offset(superblock_.log_len));
}

TEST_F(Log, ReaderReadsOnlyWhatIsNew) {
  append(10);
  Reader reader(memory_, superblock_);
  Batch batch = reader.read(header(), 100);
  EXPECT_EQ(batch.entries.size(), 10U);
  reader.advance(batch.end);
  append(2);
  const auto now = header();
  memory_.events.clear();
  batch = reader.read(now, 100);
  const auto range = lines(10, 11);
  EXPECT_THAT(memory_.events, ElementsAre(Event{Kind::kInvalidate, range.first, range.second},
                                          Event{Kind::kLoadFence}));
  ASSERT_EQ(batch.entries.size(), 2U);
  EXPECT_EQ(batch.entries[0].index, 10U);
  EXPECT_EQ(batch.end, 12U);
  reader.advance(batch.end);
  memory_.events.clear();
  EXPECT_TRUE(reader.read(now, 100).entries.empty());
  EXPECT_THAT(memory_.events, ElementsAre());
}

TEST_F(Log, ReaderHeaderIsOneLine) {
  Reader(memory_, superblock_).read_header();
  EXPECT_THAT(memory_.events, ElementsAre(Event{Kind::kInvalidate, media::kLogOffset, 64},
                                          Event{Kind::kLoadFence}));
}

TEST_F(Log, ReaderTakesNoMoreThanTheLimit) {
  append(10);
  const Batch batch = Reader(memory_, superblock_).read(header(), 3);
  EXPECT_EQ(batch.entries.size(), 3U);
  EXPECT_EQ(batch.end, 3U);
  EXPECT_FALSE(batch.stopped);
}

TEST_F(Log, ReaderStopsAtTheFirstBadEntryAfterReadingItTwice) {
  append(5);
  flip(2);
  const auto now = header();
  memory_.events.clear();
  const Batch batch = Reader(memory_, superblock_).read(now, 100);
  EXPECT_EQ(batch.entries.size(), 2U);
  EXPECT_EQ(batch.end, 2U);
  ASSERT_TRUE(batch.stopped);
  EXPECT_EQ(batch.stopped->index, 2U);
  EXPECT_EQ(batch.stopped->field, "crc");
  const auto all = lines(0, 4);
  const auto bad = lines(2, 2);
  EXPECT_THAT(
      memory_.events,
      ElementsAre(Event{Kind::kInvalidate, all.first, all.second}, Event{Kind::kLoadFence},
                  Event{Kind::kInvalidate, bad.first, bad.second}, Event{Kind::kLoadFence}));
}

TEST_F(Log, ReaderAcceptsAnEntryThatArrivesLate) {
  append(3);
  flip(1);
  const auto now = header();
  memory_.events.clear();
  memory_.on_event = [&](const Event& event) {
    // The entry's bytes reach memory between the first look and the second.
    if (event.kind == Kind::kInvalidate && memory_.events.size() == 2) flip(1);
  };
  const Batch batch = Reader(memory_, superblock_).read(now, 100);
  EXPECT_EQ(batch.entries.size(), 3U);
  EXPECT_FALSE(batch.stopped);
}

TEST_F(Log, ReaderReportsSkippedEntries) {
  append(1);
  append(std::vector<media::EntryBody>{media::UnknownEntry{2}});
  append(1);
  const Batch batch = Reader(memory_, superblock_).read(header(), 100);
  EXPECT_EQ(batch.entries.size(), 3U);
  ASSERT_EQ(batch.notices.size(), 1U);
  EXPECT_EQ(batch.notices[0].index, 1U);
  EXPECT_FALSE(batch.stopped);
}

// What an append that died left behind the new entries does not look like their continuation.
TEST_F(Log, AppendEndsTheLog) {
  append(4);
  set_next(1, 1);
  Writer writer(memory_, superblock_);
  writer.store_entries(header(), directories(1, 7));
  Reader reader(memory_, superblock_);
  EXPECT_TRUE(media::is_intact(reader.entry_bytes(1), 1));
  EXPECT_FALSE(media::is_intact(reader.entry_bytes(2), 2));
  EXPECT_TRUE(media::is_intact(reader.entry_bytes(3), 3));
}

TEST_F(Log, HoldsWhatWasAppended) {
  append(2);
  Reader reader(memory_, superblock_);
  const auto stored = directories(2);
  EXPECT_EQ(reader.holds(0, stored), 2U);
  EXPECT_EQ(reader.holds(1, std::span(stored).last(1)), 1U);
  EXPECT_EQ(reader.holds(1, std::span(stored).first(1)), 0U);
  flip(1);
  EXPECT_EQ(reader.holds(0, stored), 1U);
}

TEST_F(Log, EndOfASoundLog) {
  EXPECT_EQ(end().ending, Ending::kWhole);
  append(4);
  memory_.events.clear();
  EXPECT_EQ(end().ending, Ending::kWhole);
  EXPECT_EQ(end().next, 4U);
}

TEST_F(Log, EndBeyondWhatWasWritten) {
  append(4);
  set_next(6, 6);
  EXPECT_EQ(end().ending, Ending::kNeverWritten);
  EXPECT_EQ(end().next, 4U);
}

TEST_F(Log, TornEnd) {
  append(4);
  const uint64_t crc = media::log_entry_offset(3) + 536;
  std::memset(memory_.raw(crc / 64 * 64, 8 + crc % 64).data(), 0, 8 + crc % 64);
  EXPECT_EQ(end().ending, Ending::kTorn);
  EXPECT_EQ(end().next, 3U);
  set_next(5, 5);
  EXPECT_EQ(end().ending, Ending::kDamaged);
}

TEST_F(Log, DamagedEnd) {
  append(4);
  flip(3);
  EXPECT_EQ(end().ending, Ending::kDamaged);
  EXPECT_EQ(end().next, 3U);
}

TEST_F(Log, DamageInTheMiddleIsNotTheEnd) {
  append(4);
  flip(1);
  EXPECT_EQ(end().ending, Ending::kWhole);
}

}  // namespace
}  // namespace famfs::log
