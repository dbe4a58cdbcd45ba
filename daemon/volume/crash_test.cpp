// SPDX-License-Identifier: Apache-2.0
// The host dies at every step of every change, with any of the lines lost that it had not written
// back and fenced: what is on the medium is the state before or the state after, the next mount on
// the master leaves it clean, and a client that was mounted all the time follows. Another client
// reads while the change goes on and lines arrive one by one.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <vector>

#include "testing/cached_memory.h"
#include "testing/crash_states.h"
#include "testing/example_volume.h"
#include "testing/recording_memory.h"
#include "testing/temporary_directory.h"
#include "volume/check.h"
#include "volume/repair.h"
#include "volume/volume.h"

namespace famfs::volume {
namespace {

using ::famfs::testing::a_directory;
using ::famfs::testing::a_file;
using ::famfs::testing::CachedMemory;
using ::famfs::testing::client_uuid;
using ::famfs::testing::CrashStates;
using ::famfs::testing::error_code_of;
using ::famfs::testing::Eviction;
using ::famfs::testing::master_uuid;
using ::famfs::testing::Medium;
using ::famfs::testing::RecordingMemory;
using ::famfs::testing::Step;

constexpr unsigned kReadings = 100;

std::unique_ptr<Volume> mount(Medium& medium, const base::Uuid& uuid,
                              std::vector<Step>* steps = nullptr) {
  return Volume::open(std::make_unique<CachedMemory>(medium, steps), {.system_uuid = uuid});
}

void make(Medium& medium, std::vector<Step>* steps = nullptr) {
  CachedMemory memory(medium, steps);
  format(memory, {.force = true, .system_uuid = master_uuid()});
}

CheckReport fsck(Medium& medium) {
  CachedMemory memory(medium);
  return check(memory, {.system_uuid = master_uuid()});
}

void expect_clean(Medium& medium) {
  const CheckReport report = fsck(medium);
  EXPECT_TRUE(report.clean()) << format_report(report, {});
}

// What a master did to a medium.
struct Change {
  Medium before;
  std::vector<Step> steps;
  Medium after;
};

Change record(const Medium& before, const std::function<void(Medium&, std::vector<Step>*)>& act) {
  Change change{before, {}, before};
  act(change.after, &change.steps);
  return change;
}

// A medium with a directory d, and what `act` does on the master mounted there.
Change record_append(const std::function<void(Volume&)>& act) {
  Medium medium;
  make(medium);
  mount(medium, master_uuid())->make_directory(a_directory("d"));
  return record(medium, [&](Medium& changed, std::vector<Step>* steps) {
    act(*mount(changed, master_uuid(), steps));
  });
}

// Nodes that a client mounted on `before` knows once `medium` is what it reads.
uint64_t nodes_on_client(const Medium& before, const Medium& medium) {
  Medium read = before;
  const auto client = mount(read, client_uuid());
  read = medium;
  EXPECT_FALSE(client->refresh().stopped);
  return client->tree()->count();
}

// After a crash in an append: `old_nodes` or `new_nodes`, and the file system goes on.
void expect_append_or_not(const Change& change, Medium& crashed, uint64_t old_nodes,
                          uint64_t new_nodes) {
  const uint64_t seen = nodes_on_client(change.before, crashed);
  EXPECT_TRUE(seen == old_nodes || seen == new_nodes) << seen;
  // All that fsck may say is that an append was not announced, and its repair does what mounts do.
  Medium repaired = crashed;
  {
    CachedMemory memory(repaired);
    const RepairPlan plan = plan_repair(memory);
    EXPECT_FALSE(plan.refused) << plan.reason;
    if (plan.wanted) apply_repair(memory, plan);
  }
  expect_clean(repaired);
  {
    const auto master = mount(crashed, master_uuid());
    EXPECT_GE(master->tree()->count(), seen);
    EXPECT_EQ(mount(repaired, client_uuid())->tree()->count(), master->tree()->count());
    expect_clean(crashed);
    master->create_file(a_file("after", 100));
  }
  // Nothing of the dead append comes back behind the new one.
  const uint64_t next = fsck(crashed).entries_used;
  expect_clean(crashed);
  const auto master = mount(crashed, master_uuid());
  EXPECT_EQ(fsck(crashed).entries_used, next);
  master->make_directory(a_directory("later"));
  expect_clean(crashed);
  EXPECT_EQ(nodes_on_client(change.before, crashed),
            mount(crashed, client_uuid())->tree()->count());
}

// A client that is mounted before the change refreshes while its steps reach the medium.
void read_meanwhile(const Change& change, const std::function<void(Volume&)>& inspect) {
  for (unsigned seed = 0; seed < kReadings; ++seed) {
    SCOPED_TRACE(fmt::format("reading {}", seed));
    Medium medium = change.before;
    Eviction eviction(medium, change.steps, seed);
    auto opened = std::make_unique<CachedMemory>(medium);
    CachedMemory& memory = *opened;
    const auto client = Volume::open(std::move(opened), {.system_uuid = client_uuid()});
    memory.on_step = [&] { eviction.advance(); };
    while (!eviction.done() && !client->superseded()) {
      eviction.advance();
      inspect(*client);
    }
    EXPECT_TRUE(client->superseded() || medium.text() == change.after.text());
    inspect(*client);
  }
}

void expect_followed(const Change& change, uint64_t old_nodes, uint64_t new_nodes) {
  read_meanwhile(change, [&](Volume& client) {
    EXPECT_FALSE(client.refresh().stopped);
    const uint64_t seen = client.tree()->count();
    EXPECT_TRUE(seen == old_nodes || seen == new_nodes) << seen;
  });
}

void expect_atomic(const Change& change, uint64_t old_nodes, uint64_t new_nodes) {
  EXPECT_EQ(nodes_on_client(change.before, change.after), new_nodes);
  const uint64_t states = CrashStates::each(change.before, change.steps, [&](Medium& crashed) {
    expect_append_or_not(change, crashed, old_nodes, new_nodes);
  });
  EXPECT_GE(states, 8U);
  expect_followed(change, old_nodes, new_nodes);
}

TEST(CrashDuring, AppendOfADirectory) {
  expect_atomic(record_append([](Volume& master) { master.make_directory(a_directory("d/e")); }), 2,
                3);
}

TEST(CrashDuring, AppendOfAFile) {
  expect_atomic(record_append([](Volume& master) { master.create_file(a_file("d/f", 100)); }), 2,
                3);
}

TEST(CrashDuring, AppendOfAnInterleavedFileWithALongName) {
  auto request = a_file("d/" + std::string(77, 'f'), 9'000'001);
  request.interleave = alloc::Interleave{4, 3, 2 * ::famfs::testing::kMiB};
  expect_atomic(record_append([&](Volume& master) { master.create_file(request); }), 2, 3);
}

TEST(CrashDuring, BatchAppend) {
  const std::vector<CreateRequest> requests = {a_directory("e"), a_file("e/a", 1), a_file("d/b", 1),
                                               a_file("c", 1)};
  expect_atomic(record_append([&](Volume& master) { master.create(requests); }), 2, 6);
}

TEST(CrashDuring, AddOfADevice) {
  const Change change = record_append(
      [](Volume& master) { master.add_device(std::make_unique<RecordingMemory>(), false); });
  Medium after = change.after;
  EXPECT_EQ(mount(after, client_uuid())->devices().size(), 1U);
  const uint64_t states = CrashStates::each(change.before, change.steps, [&](Medium& crashed) {
    const size_t seen = mount(crashed, client_uuid())->devices().size();
    EXPECT_LE(seen, 1U);
    {
      CachedMemory memory(crashed);
      EXPECT_FALSE(plan_repair(memory).refused);
    }
    const auto master = mount(crashed, master_uuid());
    EXPECT_GE(master->devices().size(), seen);
    master->create_file(a_file("after", 100));
    const auto client = mount(crashed, client_uuid());
    EXPECT_FALSE(client->last_refresh().stopped);
    EXPECT_NE(client->tree()->lookup_path("after"), nullptr);
    EXPECT_EQ(client->devices().size(), master->devices().size());
  });
  EXPECT_GE(states, 8U);
}

// The next append after one that died is as safe: the slots are not empty then.
TEST(CrashDuring, AppendOverTheRemainsOfAnother) {
  Change change = record_append([](Volume& master) {
    master.create(std::vector{a_file("d/a", 1), a_file("d/b", 1), a_file("d/c", 1)});
  });
  // All entries but the first arrived, and nobody was told of any.
  Medium remains = change.after;
  {
    CachedMemory memory(remains);
    memory.store_zeros(media::log_entry_offset(1), 64);
    memory.store_word(media::kLogOffset + media::kNextSeqnumOffset, 1);
    memory.store_word(media::kLogOffset + media::kNextIndexOffset, 1);
    memory.publish(media::kLogOffset, 4096);
  }
  expect_atomic(record(remains,
                       [](Medium& medium, std::vector<Step>* steps) {
                         mount(medium, master_uuid(), steps)->create_file(a_file("new", 1));
                       }),
                2, 3);
}

// The mount that announces what a dead append left may die as well.
TEST(CrashDuring, MountThatFinishesAnAppend) {
  Medium medium;
  make(medium);
  mount(medium, master_uuid())->create(std::vector{a_directory("a"), a_directory("b")});
  CachedMemory memory(medium);
  memory.store_word(media::kLogOffset + media::kNextSeqnumOffset, 0);
  memory.store_word(media::kLogOffset + media::kNextIndexOffset, 0);
  memory.publish(media::kLogOffset, media::kLogHeaderSize);
  const Change change = record(medium, [](Medium& changed, std::vector<Step>* steps) {
    mount(changed, master_uuid(), steps);
  });
  const uint64_t states = CrashStates::each(change.before, change.steps, [&](Medium& crashed) {
    expect_append_or_not(change, crashed, 1, 3);
  });
  EXPECT_EQ(states, 3U);  // one line, in which two words change
  expect_followed(change, 1, 3);
}

TEST(CrashDuring, FirstMkfs) {
  const Change change =
      record({}, [](Medium& medium, std::vector<Step>* steps) { make(medium, steps); });
  const uint64_t states = CrashStates::each(change.before, change.steps, [](Medium& crashed) {
    const int code = error_code_of([&] {
      EXPECT_EQ(mount(crashed, client_uuid())->tree()->count(), 1U);
      expect_clean(crashed);
    });
    EXPECT_TRUE(code == 0 || code == ENODATA) << code;
    make(crashed);
    expect_clean(crashed);
  });
  EXPECT_GE(states, 8U);
}

// The old file system whole, none, or the new one empty; never a mixture.
TEST(CrashDuring, MkfsOverAFileSystem) {
  Medium medium;
  make(medium);
  base::Uuid old;
  {
    const auto master = mount(medium, master_uuid());
    old = master->superblock().fs_uuid;
    master->create(std::vector{a_directory("d"), a_file("d/f", 1), a_file("d/g", 1)});
  }
  const Change change =
      record(medium, [](Medium& changed, std::vector<Step>* steps) { make(changed, steps); });
  const uint64_t states = CrashStates::each(change.before, change.steps, [&](Medium& crashed) {
    const int code = error_code_of([&] {
      const auto client = mount(crashed, client_uuid());
      EXPECT_FALSE(client->last_refresh().stopped);
      EXPECT_EQ(client->tree()->count(), client->superblock().fs_uuid == old ? 4U : 1U);
      expect_clean(crashed);
    });
    EXPECT_TRUE(code == 0 || code == ENODATA) << code;
    // Who was mounted keeps what it has or is told; it never takes entries of the new one.
    Medium read = change.before;
    const auto client = mount(read, client_uuid());
    read = crashed;
    const int told = error_code_of([&] { EXPECT_FALSE(client->refresh().stopped); });
    EXPECT_TRUE(told == ESTALE || told == 0) << told;
    EXPECT_EQ(told == 0, code == 0 && mount(crashed, client_uuid())->superblock().fs_uuid == old);
  });
  EXPECT_GE(states, 500U);
  // While it goes on, and while the new file system gets entries.
  Change busy = change;
  mount(busy.after, master_uuid(), &busy.steps)
      ->create(std::vector{a_directory("x"), a_file("y", 1), a_file("z", 1), a_file("w", 1)});
  read_meanwhile(busy, [&](Volume& client) {
    const int told = error_code_of([&] {
      EXPECT_FALSE(client.refresh().stopped);
      EXPECT_EQ(client.tree()->count(), 4U);
      EXPECT_NE(client.tree()->lookup_path("d/g"), nullptr);
    });
    EXPECT_TRUE(told == ESTALE || told == 0) << told;
  });
}

}  // namespace
}  // namespace famfs::volume
