// SPDX-License-Identifier: Apache-2.0
#include "volume/volume.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/bytes.h"
#include "testing/example_volume.h"
#include "testing/temporary_directory.h"
#include "volume/check.h"

namespace famfs::volume {
namespace {

using ::famfs::testing::a_directory;
using ::famfs::testing::a_file;
using ::famfs::testing::client_uuid;
using ::famfs::testing::error_code_of;
using ::famfs::testing::ExampleVolume;
using ::famfs::testing::kMiB;
using ::famfs::testing::master_uuid;
using ::famfs::testing::RecordingMemory;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Event = RecordingMemory::Event;
using Kind = RecordingMemory::Kind;

class VolumeTest : public ::testing::Test {
 protected:
  CheckReport fsck() {
    RecordingMemory memory(example_.bytes(), false);
    return check(memory, {.system_uuid = master_uuid(), .nbuckets = 4});
  }
  std::unique_ptr<Volume> master(RecordingMemory** memory = nullptr) {
    return example_.open(master_uuid(), memory);
  }
  std::unique_ptr<Volume> client(RecordingMemory** memory = nullptr) {
    return example_.open(client_uuid(), memory);
  }

  ExampleVolume example_;
};

TEST_F(VolumeTest, RoleFollowsTheSystemUuid) {
  EXPECT_EQ(master()->role(), Role::kMaster);
  EXPECT_EQ(client()->role(), Role::kClient);
  const auto forced = Volume::open(std::make_unique<RecordingMemory>(example_.bytes()),
                                   {.system_uuid = master_uuid(), .force_client = true});
  EXPECT_EQ(forced->role(), Role::kClient);
  // A host without an identity is not the master of a file system that names none.
  example_.patch_superblock(80, uint64_t{0});
  example_.patch_superblock(88, uint64_t{0});
  EXPECT_EQ(Volume::open(std::make_unique<RecordingMemory>(example_.bytes()), {})->role(),
            Role::kClient);
  RecordingMemory memory(example_.bytes(), false);
  EXPECT_EQ(check(memory, {}).role, Role::kClient);
}

TEST_F(VolumeTest, CreatedFilesAppearOnAClientByRefresh) {
  const auto m = master();
  const auto c = client();
  const tree::NodeId directory = m->make_directory(a_directory("new"));
  const tree::NodeId file = m->create_file(a_file("new/file", 5'000'000));
  EXPECT_EQ(c->tree()->lookup_path("new"), nullptr);
  const RefreshResult result = c->refresh();
  EXPECT_EQ(result.entries, 2U);
  EXPECT_EQ(result.new_nodes, 2U);
  EXPECT_EQ(result.first_new, directory);
  EXPECT_FALSE(result.stopped);
  const auto tree = c->tree();
  const tree::Node* node = tree->lookup_path("new/file");
  ASSERT_NE(node, nullptr);
  EXPECT_EQ(node->id, file);
  EXPECT_EQ(node->size, 5'000'000U);
  EXPECT_EQ(node->map, m->tree()->find(file)->map);
  EXPECT_TRUE(fsck().clean());
}

TEST_F(VolumeTest, RefreshWithoutNewsReadsTwoLines) {
  RecordingMemory* memory = nullptr;
  const auto c = client(&memory);
  memory->events.clear();
  EXPECT_EQ(c->refresh().entries, 0U);
  EXPECT_THAT(memory->events, ElementsAre(Event{Kind::kInvalidate, 0, 64}, Event{Kind::kLoadFence},
                                          Event{Kind::kInvalidate, media::kLogOffset, 64},
                                          Event{Kind::kLoadFence}));
}

TEST_F(VolumeTest, RefreshReadsExactlyTheNewEntriesBetweenTwoIdentityChecks) {
  RecordingMemory* memory = nullptr;
  const auto c = client(&memory);
  master()->make_directory(a_directory("new"));
  memory->events.clear();
  EXPECT_EQ(c->refresh().entries, 1U);
  const uint64_t begin = media::log_entry_offset(4) / 64 * 64;
  const uint64_t end = (media::log_entry_offset(5) + 63) / 64 * 64;
  const Event identity{Kind::kInvalidate, 0, 64};
  const Event header{Kind::kInvalidate, media::kLogOffset, 64};
  const Event fence{Kind::kLoadFence};
  EXPECT_THAT(memory->events,
              ElementsAre(identity, fence, header, fence,  // there is something new
                          identity, fence, header, fence,  // looked at again under the lock
                          Event{Kind::kInvalidate, begin, end - begin}, fence, identity, fence));
}

TEST_F(VolumeTest, CreateChecksIdentityAndCountersThenAppendsInOrder) {
  RecordingMemory* memory = nullptr;
  const auto m = master(&memory);
  memory->events.clear();
  m->make_directory(a_directory("new"));
  const uint64_t begin = media::log_entry_offset(4) / 64 * 64;
  const uint64_t end = (media::log_entry_offset(5) + 63) / 64 * 64;
  const Event identity{Kind::kInvalidate, 0, 64};
  const Event header{Kind::kInvalidate, media::kLogOffset, 64};
  const Event fence{Kind::kLoadFence};
  EXPECT_THAT(memory->events,
              ElementsAre(identity, fence, header, fence,  // nothing new
                          identity, fence, header, fence,  // still nothing, then the entry
                          Event{Kind::kWriteBack, begin, end - begin}, Event{Kind::kStoreFence},
                          Event{Kind::kInvalidate, begin, end - begin}, fence,  // read back
                          identity, fence, header, fence,  // still nothing, then announced
                          Event{Kind::kWriteBack, media::kLogOffset, 64}, Event{Kind::kStoreFence},
                          identity, fence, header, fence,  // and all read back
                          Event{Kind::kInvalidate, begin, end - begin}, fence));
}

// At most 12 lines are written back for an entry, however long the log is.
TEST_F(VolumeTest, AppendWritesBackElevenLinesWhateverTheLogHolds) {
  for (const int before : {0, 1, 2000}) {
    RecordingMemory* memory = nullptr;
    const auto m = master(&memory);
    std::vector<CreateRequest> requests;
    requests.reserve(static_cast<size_t>(before));
    for (int i = 0; i < before; ++i)
      requests.push_back(a_directory(fmt::format("{}.{}", before, i)));
    m->create(requests);
    const uint64_t written = memory->counters().lines_written_back;
    m->create_file(a_file("d/" + std::to_string(before), 1));
    EXPECT_LE(memory->counters().lines_written_back - written, 11U);
  }
}

// A client learns that there is nothing new by two lines, and of an entry by that and its lines.
TEST_F(VolumeTest, RefreshCostsTheSameWhateverTheLogHolds) {
  for (const int before : {0, 1, 2000}) {
    const auto m = master();
    std::vector<CreateRequest> requests;
    requests.reserve(static_cast<size_t>(before));
    for (int i = 0; i < before; ++i)
      requests.push_back(a_directory(fmt::format("{}.{}", before, i)));
    m->create(requests);
    RecordingMemory* memory = nullptr;
    const auto c = client(&memory);
    const auto lines = [&] {
      const uint64_t invalidated = memory->counters().lines_invalidated;
      c->refresh();
      return memory->counters().lines_invalidated - invalidated;
    };
    EXPECT_EQ(lines(), 2U);
    m->create_file(a_file("d/" + std::to_string(before), 1));
    EXPECT_LE(lines(), 5U + 10);
    EXPECT_EQ(lines(), 2U);
  }
}

TEST_F(VolumeTest, ManyFilesAreAnnouncedAtOnce) {
  RecordingMemory* memory = nullptr;
  const auto m = master(&memory);
  std::vector<CreateRequest> requests{a_directory("new")};
  for (int i = 0; i < 100; ++i) requests.push_back(a_file(fmt::format("new/{}", i), 1));
  memory->events.clear();
  EXPECT_EQ(m->create_leading(requests).nodes.size(), 101U);
  const auto announced = std::count(memory->events.begin(), memory->events.end(),
                                    Event{Kind::kWriteBack, media::kLogOffset, 64});
  EXPECT_EQ(announced, 1);
  const auto c = client();
  EXPECT_NE(c->tree()->lookup_path("new/99"), nullptr);
}

TEST_F(VolumeTest, WhatComesBeforeTheFirstRefusedIsMade) {
  const auto m = master();
  const std::vector<CreateRequest> requests{a_directory("new"), a_file("new/a", 1),
                                            a_file("d/f1", 1), a_file("new/b", 1)};
  const Volume::Created created = m->create_leading(requests);
  EXPECT_EQ(created.nodes.size(), 2U);
  ASSERT_TRUE(created.refused);
  EXPECT_EQ(created.refused->code(), EEXIST);
  EXPECT_EQ(m->tree()->lookup_path("new/a")->id, created.nodes[1]);
  EXPECT_EQ(m->tree()->lookup_path("new/b"), nullptr);
  EXPECT_EQ(m->statistics().entries_appended, 2U);
  EXPECT_EQ(client()->space().entries_used, ExampleVolume::kEntries + 2);

  // No room for the second, then the log full at the third.
  const auto full = m->create_leading(
      std::vector<CreateRequest>{a_file("x", 1), a_file("y", 1ull << 40), a_file("z", 1)});
  EXPECT_EQ(full.nodes.size(), 1U);
  EXPECT_EQ(full.refused->code(), ENOSPC);
  std::vector<CreateRequest> many;
  many.reserve(16000);
  for (int i = 0; i < 16000; ++i) many.push_back(a_directory(fmt::format("m{}", i)));
  const auto filled = m->create_leading(many);
  EXPECT_EQ(filled.nodes.size(), 15420 - ExampleVolume::kEntries - 3);
  EXPECT_EQ(filled.refused->code(), ENOSPC);
  EXPECT_TRUE(fsck().clean());
}

TEST_F(VolumeTest, ClientsWriteNothing) {
  RecordingMemory* memory = nullptr;
  const auto c = client(&memory);
  EXPECT_EQ(error_code_of([&] { c->create_file(a_file("x", 1)); }), EROFS);
  EXPECT_EQ(error_code_of([&] { c->make_directory(a_directory("x")); }), EROFS);
  c->refresh();
  EXPECT_EQ(memory->counters().lines_written_back, 0U);
}

TEST_F(VolumeTest, CreateSaysWhatIsWrong) {
  const auto m = master();
  const auto file = [&](const std::string& path, uint64_t size = 1) {
    return error_code_of([&] { m->create_file(a_file(path, size)); });
  };
  EXPECT_EQ(file("d/f1"), EEXIST);
  EXPECT_EQ(file("d"), EEXIST);
  EXPECT_EQ(file("zz/x"), ENOENT);
  EXPECT_EQ(file("d/f1/x"), ENOTDIR);
  EXPECT_EQ(file(std::string(80, 'x')), ENAMETOOLONG);
  EXPECT_EQ(file("../x"), EINVAL);
  EXPECT_EQ(file("/x"), EINVAL);
  EXPECT_EQ(file(""), EINVAL);
  EXPECT_EQ(file(std::string("a\0b", 3)), EINVAL);
  EXPECT_EQ(file("x", 0), EINVAL);
  EXPECT_EQ(file("x", uint64_t{5} << 30), ENOSPC);
  EXPECT_EQ(file("x", UINT64_MAX), ENOSPC);
  auto request = a_directory("x");
  request.mode = 0100755;
  EXPECT_EQ(error_code_of([&] { m->make_directory(request); }), EINVAL);
  request = a_file("x", 8 * kMiB);
  request.interleave = alloc::Interleave{4, 5, 2 * kMiB};
  EXPECT_EQ(error_code_of([&] { m->create_file(request); }), EINVAL);
  EXPECT_EQ(m->space().entries_used, 4U);
  EXPECT_TRUE(fsck().clean());
  EXPECT_EQ(file(std::string(79, 'x')), 0);
}

TEST_F(VolumeTest, BatchesAreAllOrNothing) {
  RecordingMemory* memory = nullptr;
  const auto m = master(&memory);
  const auto before = m->space();
  const uint64_t written = memory->counters().lines_written_back;
  const std::vector<CreateRequest> bad = {a_directory("n"), a_file("n/a", 1), a_file("n/a", 1)};
  EXPECT_EQ(error_code_of([&] { m->create(bad); }), EEXIST);
  const std::vector<CreateRequest> large = {a_directory("n"), a_file("n/a", 1),
                                            a_file("n/b", uint64_t{4} << 30)};
  EXPECT_EQ(error_code_of([&] { m->create(large); }), ENOSPC);
  EXPECT_EQ(m->tree()->lookup_path("n"), nullptr);
  EXPECT_EQ(m->space().used, before.used);
  EXPECT_EQ(memory->counters().lines_written_back, written);
  const std::vector<CreateRequest> good = {a_directory("n"), a_file("n/a", 1), a_file("n/b", 1)};
  EXPECT_THAT(m->create(good), ElementsAre(6, 7, 8));
  EXPECT_TRUE(fsck().clean());
  EXPECT_EQ(fsck().files, 5U);
  EXPECT_THAT(m->create({}), IsEmpty());
}

TEST_F(VolumeTest, FullLogIsAnErrorAndUndone) {
  const uint64_t capacity = media::log_capacity(example_.superblock().log_len);
  const auto m = master();
  std::vector<CreateRequest> requests;
  for (uint64_t i = ExampleVolume::kEntries; i < capacity; ++i) {
    requests.push_back(a_directory("x" + std::to_string(i)));
  }
  requests.push_back(a_file("one too many", 1));
  const auto before = m->space();
  EXPECT_EQ(error_code_of([&] { m->create(requests); }), ENOSPC);
  EXPECT_EQ(m->space().used, before.used);
  EXPECT_EQ(m->tree()->count(), 5U);
  requests.pop_back();
  m->create(requests);
  EXPECT_EQ(m->space().entries_used, capacity);
  EXPECT_EQ(error_code_of([&] { m->make_directory(a_directory("more")); }), ENOSPC);
  EXPECT_EQ(m->tree()->lookup_path("more"), nullptr);
  EXPECT_TRUE(fsck().clean());
  // A first replay takes several batches.
  EXPECT_EQ(client()->last_refresh().entries, capacity);
}

TEST_F(VolumeTest, SpaceNumbers) {
  const auto numbers = client()->space();
  EXPECT_EQ(numbers.capacity, uint64_t{4} << 30);
  EXPECT_EQ(numbers.used, (10 + 4 + 2 + 12) * kMiB);
  EXPECT_EQ(numbers.free, numbers.capacity - numbers.used);
  EXPECT_EQ(numbers.files, 3U);
  EXPECT_EQ(numbers.directories, 1U);
  EXPECT_EQ(numbers.nodes(), 5U);
  EXPECT_EQ(numbers.entries_used, 4U);
  EXPECT_EQ(numbers.entries_capacity, 15420U);
}

TEST_F(VolumeTest, StatisticsCount) {
  const auto m = master();
  const auto c = client();
  m->make_directory(a_directory("n"));
  c->refresh();
  c->refresh();
  EXPECT_EQ(m->statistics().entries_appended, 1U);
  const Statistics statistics = c->statistics();
  EXPECT_EQ(statistics.refreshes, 2U);
  EXPECT_EQ(statistics.entries_read, 5U);
  EXPECT_GT(statistics.header_checks, 2U);
  EXPECT_GT(statistics.identity_checks, 2U);
  EXPECT_GT(statistics.memory.lines_invalidated, 0U);
  EXPECT_EQ(statistics.memory.lines_written_back, 0U);
}

TEST_F(VolumeTest, FilesAtAnAddress) {
  const auto c = client();
  const tree::NodeId f1 = c->tree()->lookup_path("d/f1")->id;
  const tree::NodeId f2 = c->tree()->lookup_path("d/f2")->id;
  EXPECT_THAT(c->files_at(0, 0, 10 * kMiB), IsEmpty());
  EXPECT_THAT(c->files_at(0, 13 * kMiB, 1), ElementsAre(f1));
  EXPECT_THAT(c->files_at(0, 13 * kMiB, 2 * kMiB), ElementsAre(f1, f2));
}

TEST_F(VolumeTest, AttributesAreLocal) {
  const auto m = master();
  const tree::NodeId f1 = m->tree()->lookup_path("d/f1")->id;
  m->set_attributes(f1, {.mode = 0600});
  EXPECT_EQ(m->tree()->find(f1)->mode, 0600U);
  EXPECT_EQ(client()->tree()->find(f1)->mode, 0444U);
  EXPECT_EQ(error_code_of([&] { m->set_attributes(99, {}); }), ENOENT);
}

TEST_F(VolumeTest, AnotherFileSystemMakesEveryMemberStale) {
  const auto m = master();
  const auto c = client();
  RecordingMemory other(example_.bytes());
  format(other, {.force = true, .system_uuid = master_uuid()});
  EXPECT_FALSE(c->superseded());
  EXPECT_EQ(error_code_of([&] { c->refresh(); }), ESTALE);
  EXPECT_TRUE(c->superseded());
  EXPECT_EQ(error_code_of([&] { c->refresh(); }), ESTALE);
  EXPECT_EQ(error_code_of([&] { c->check_current(); }), ESTALE);
  EXPECT_EQ(error_code_of([&] { c->tree(); }), ESTALE);
  EXPECT_EQ(error_code_of([&] { c->set_attributes(1, {}); }), ESTALE);
  EXPECT_EQ(error_code_of([&] { m->make_directory(a_directory("n")); }), ESTALE);
  EXPECT_TRUE(m->superseded());
  // The new file system got nothing of it.
  EXPECT_EQ(fsck().entries_used, 0U);
  EXPECT_TRUE(fsck().clean());
}

TEST_F(VolumeTest, PeriodicCheckNoticesKill) {
  const auto c = client();
  EXPECT_TRUE(c->check_identity());
  RecordingMemory other(example_.bytes());
  kill(other, true);
  EXPECT_FALSE(c->check_identity());
  EXPECT_TRUE(c->superseded());
  // Sticky even if the old superblock came back.
  base::store<uint64_t>(example_.raw(0, 8), 0, media::kSuperblockMagic);
  EXPECT_FALSE(c->check_identity());
}

TEST_F(VolumeTest, EntriesOfAForeignLogAreNeverTaken) {
  RecordingMemory* memory = nullptr;
  const auto c = client(&memory);
  master()->make_directory(a_directory("old"));
  // The file system is replaced just as the client reads the new entry.
  bool replaced = false;
  memory->on_event = [&](const Event& event) {
    if (replaced || event.kind != Kind::kInvalidate || event.offset <= media::kLogOffset) return;
    replaced = true;
    RecordingMemory other(example_.bytes());
    format(other, {.force = true, .system_uuid = master_uuid()});
    for (int i = 0; i < 5; ++i) {
      master()->make_directory(a_directory("foreign" + std::to_string(i)));
    }
  };
  EXPECT_EQ(error_code_of([&] { c->refresh(); }), ESTALE);
  EXPECT_TRUE(replaced);
  EXPECT_EQ(c->space().entries_used, 4U);
}

// mkfs of another host in the middle of an append, before and after the entries are announced.
TEST_F(VolumeTest, AppendIsNeitherAnnouncedNorReportedInAForeignLog) {
  for (const int fence : {0, 1}) {
    ExampleVolume example;
    RecordingMemory* memory = nullptr;
    const auto m = example.open(master_uuid(), &memory);
    int fences = 0;
    memory->on_event = [&](const Event& event) {
      if (event.kind != Kind::kStoreFence || fences++ != fence) return;
      RecordingMemory other(example.bytes());
      format(other, {.force = true, .system_uuid = client_uuid()});
    };
    EXPECT_EQ(error_code_of([&] { m->make_directory(a_directory("n")); }), ESTALE) << fence;
    EXPECT_TRUE(m->superseded());
    RecordingMemory now(example.bytes(), false);
    EXPECT_EQ(check(now, {}).entries_used, 0U) << fence;
  }
}

TEST_F(VolumeTest, LogBeingRemadeIsStaleNotDamaged) {
  const auto c = client();
  example_.raw(media::kLogOffset, 1)[0] = std::byte{0};
  EXPECT_EQ(c->refresh().stopped->field, "magic");
  EXPECT_FALSE(c->superseded());
  example_.raw(0, 1)[0] = std::byte{0};
  EXPECT_EQ(error_code_of([&] { c->refresh(); }), ESTALE);
}

TEST_F(VolumeTest, LogRemadeBetweenIdentityAndHeaderIsStaleNotShrunk) {
  RecordingMemory* memory = nullptr;
  const auto c = client(&memory);
  master()->make_directory(a_directory("new"));
  int headers = 0;
  memory->on_event = [&](const Event& event) {
    // The second time is under the lock, before the new entry is read.
    if (event != Event{Kind::kInvalidate, media::kLogOffset, 64} || ++headers != 2) return;
    RecordingMemory other(example_.bytes());
    format(other, {.force = true, .system_uuid = master_uuid()});
  };
  EXPECT_EQ(error_code_of([&] { c->refresh(); }), ESTALE);
  EXPECT_EQ(headers, 2);
}

TEST_F(VolumeTest, ShrunkenNextIndexIsReported) {
  const auto c = client();
  example_.patch_header<uint64_t>(40, 2);
  const RefreshResult result = c->refresh();
  ASSERT_TRUE(result.stopped);
  EXPECT_EQ(result.stopped->field, "next_index");
  EXPECT_EQ(c->tree()->count(), 5U);
}

TEST_F(VolumeTest, RefreshGoesOnOnceABadEntryIsMended) {
  const auto c = client();
  const auto m = master();
  for (int i = 0; i < 10; ++i) m->make_directory(a_directory("n" + std::to_string(i)));
  example_.entry(6)[100] ^= std::byte{1};
  EXPECT_EQ(c->refresh().entries, 2U);
  ASSERT_TRUE(c->last_refresh().stopped);
  EXPECT_EQ(c->last_refresh().stopped->index, 6U);
  EXPECT_EQ(c->refresh().entries, 0U);
  EXPECT_TRUE(c->last_refresh().stopped);
  example_.entry(6)[100] ^= std::byte{1};
  EXPECT_EQ(c->refresh().entries, 8U);
  EXPECT_FALSE(c->last_refresh().stopped);
}

TEST_F(VolumeTest, MasterFinishesAnUnannouncedAppend) {
  example_.patch_header<uint64_t>(32, 2);
  example_.patch_header<uint64_t>(40, 2);
  EXPECT_EQ(client()->tree()->count(), 3U);
  EXPECT_FALSE(fsck().clean());
  EXPECT_EQ(master()->tree()->count(), 5U);
  EXPECT_TRUE(fsck().clean());
  EXPECT_EQ(client()->tree()->count(), 5U);
}

TEST_F(VolumeTest, MasterIsLockedBeforeAnythingIsWritten) {
  example_.patch_header<uint64_t>(32, 2);
  example_.patch_header<uint64_t>(40, 2);
  const auto open = [&](const base::Uuid& host) {
    Volume::open(std::make_unique<RecordingMemory>(example_.bytes()),
                 {.system_uuid = host, .lock_master = [] { throw base::Error(EBUSY, "locked"); }});
  };
  EXPECT_EQ(error_code_of([&] { open(master_uuid()); }), EBUSY);
  EXPECT_EQ(fsck().entries_used, 2U);
  EXPECT_EQ(error_code_of([&] { open(client_uuid()); }), 0);
}

// Another master that holds the lock appends until it gives it up: the log is read after that.
TEST_F(VolumeTest, LogIsReadUnderTheLock) {
  example_.patch_header<uint64_t>(32, 2);
  example_.patch_header<uint64_t>(40, 2);
  const auto finish_elsewhere = [&] {
    master()->make_directory(a_directory("n"));
    EXPECT_EQ(fsck().entries_used, 5U);
  };
  const auto m = Volume::open(std::make_unique<RecordingMemory>(example_.bytes()),
                              {.system_uuid = master_uuid(), .lock_master = finish_elsewhere});
  EXPECT_EQ(m->space().entries_used, 5U);
  EXPECT_EQ(fsck().entries_used, 5U);
  EXPECT_TRUE(fsck().clean());
}

TEST_F(VolumeTest, MasterMendsASkewedSeqnum) {
  example_.patch_header<uint64_t>(32, 9);
  EXPECT_FALSE(fsck().clean());
  master();
  EXPECT_TRUE(fsck().clean());
}

TEST_F(VolumeTest, MasterLeavesUnannouncedEntriesThatContradict) {
  // The sound entry after the last announced one duplicates a path.
  example_.patch_header<uint64_t>(32, 3);
  example_.patch_header<uint64_t>(40, 3);
  example_.patch_path(3, "d/f1");
  EXPECT_EQ(master()->tree()->count(), 4U);
  EXPECT_EQ(client()->tree()->count(), 4U);
}

TEST_F(VolumeTest, CheckCountsAndFormats) {
  const CheckReport report = fsck();
  EXPECT_EQ(report.files, 3U);
  EXPECT_EQ(report.directories, 1U);
  EXPECT_EQ(report.interleaved_files, 1U);
  EXPECT_EQ(report.file_bytes, 3'000'000U + 21 + 9'000'001);
  EXPECT_EQ(report.used, 28 * kMiB);
  ASSERT_EQ(report.bucket_used.size(), 4U);
  EXPECT_EQ(report.bucket_size, uint64_t{1} << 30);
  uint64_t sum = 0;
  for (const uint64_t used : report.bucket_used) sum += used;
  EXPECT_EQ(sum, report.used);
  const std::string text = format_report(report, {.verbose = true, .human = true});
  // Fields that scripts read by position.
  EXPECT_THAT(text, ::testing::ContainsRegex("\n *log_len: +8388608 "));
  EXPECT_THAT(text, ::testing::ContainsRegex("\n *Device capacity: +4294967296 "));
  EXPECT_THAT(text, ::testing::ContainsRegex("\n *Free space: +4265607168 "));
  EXPECT_THAT(text, ::testing::EndsWith("No errors found\n"));
  RecordingMemory memory(example_.bytes(), false);
  EXPECT_EQ(error_code_of([&] { check(memory, {.nbuckets = 65}); }), EINVAL);
}

// fsck by mount point reads a file system that the master goes on appending to.
TEST_F(VolumeTest, CheckFollowsAnAppendThatGoesOn) {
  const auto m = master();
  RecordingMemory memory(example_.bytes(), false);
  int created = 0;
  memory.on_event = [&](const Event& event) {
    const bool entries = event.kind == Kind::kInvalidate && event.offset > media::kLogOffset;
    if (!entries || created == 5) return;
    m->make_directory(a_directory("n" + std::to_string(created++)));
  };
  const CheckReport report = check(memory, {});
  EXPECT_TRUE(report.clean()) << format_report(report, {});
  EXPECT_EQ(report.entries_used, 9U);
  EXPECT_EQ(report.directories, 6U);
  EXPECT_EQ(report.log_header->next_index, 9U);
}

// Calls `change` before the log header is read for the n-th time, from 0.
void before_header(RecordingMemory& memory, int n, std::function<void()> change) {
  memory.on_event = [n, change = std::move(change), seen = 0](const Event& event) mutable {
    if (event == Event{Kind::kInvalidate, media::kLogOffset, 64} && seen++ == n) change();
  };
}

TEST_F(VolumeTest, CheckToleratesAnEntryThatIsJustBeingAnnounced) {
  RecordingMemory memory(example_.bytes(), false);
  example_.patch_header<uint64_t>(32, 4);
  example_.patch_header<uint64_t>(40, 3);
  before_header(memory, 2, [&] { example_.patch_header<uint64_t>(40, 4); });
  const CheckReport report = check(memory, {});
  EXPECT_TRUE(report.clean()) << format_report(report, {});
  EXPECT_EQ(report.entries_used, 4U);
}

TEST_F(VolumeTest, CheckReportsAnEntryThatStaysUnannounced) {
  RecordingMemory memory(example_.bytes(), false);
  example_.patch_header<uint64_t>(32, 3);
  example_.patch_header<uint64_t>(40, 3);
  const CheckReport report = check(memory, {});
  ASSERT_EQ(report.findings.size(), 1U);
  EXPECT_EQ(report.findings[0].field, "next_index");
  EXPECT_EQ(report.entries_used, 3U);
}

TEST_F(VolumeTest, ReportHasNoBytesThatATerminalObeys) {
  std::memcpy(example_.raw(136, 8).data(), "\x1b[2Jname", 8);  // the device's name
  const std::string text = format_report(fsck(), {.verbose = true});
  EXPECT_THAT(text, ::testing::HasSubstr("\\x1b[2Jname"));
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST_F(VolumeTest, ReplayPlaysEntriesInOrder) {
  RecordingMemory memory(example_.bytes(), false);
  std::vector<uint64_t> indices;
  const ReplayReport report =
      replay(memory, [&](const media::LogEntry& entry) { indices.push_back(entry.index); });
  EXPECT_THAT(indices, ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(report.files, 3U);
  EXPECT_EQ(report.directories, 1U);
}

}  // namespace
}  // namespace famfs::volume
