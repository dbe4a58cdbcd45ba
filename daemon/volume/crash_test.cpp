// SPDX-License-Identifier: Apache-2.0
// The host dies at every step of every change: what is on the medium afterwards is the state before
// or the state after, and the next mount on the master leaves it clean.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "testing/crashing_memory.h"
#include "testing/example_volume.h"
#include "testing/temporary_directory.h"
#include "volume/check.h"
#include "volume/volume.h"

namespace famfs::volume {
namespace {

using ::famfs::testing::a_directory;
using ::famfs::testing::a_file;
using ::famfs::testing::client_uuid;
using ::famfs::testing::Crash;
using ::famfs::testing::CrashingMemory;
using ::famfs::testing::error_code_of;
using ::famfs::testing::master_uuid;
using ::famfs::testing::Medium;

constexpr uint64_t kNever = ~uint64_t{0};
constexpr unsigned kSeeds = 8;

std::unique_ptr<Volume> mount(Medium& medium, const base::Uuid& uuid, uint64_t die_at = kNever,
                              unsigned seed = 0) {
  return Volume::open(std::make_unique<CrashingMemory>(medium, die_at, seed),
                      {.system_uuid = uuid});
}

// Runs `action` with a host that dies at step 0, 1, … until it survives; `inspect` looks at the
// medium after each death. `prepare` makes a fresh medium each time.
template <typename Prepare, typename Action, typename Inspect>
void die_at_every_step(Prepare prepare, Action action, Inspect inspect) {
  for (unsigned seed = 0; seed < kSeeds; ++seed) {
    uint64_t step = 0;
    for (bool died = true; died; ++step) {
      SCOPED_TRACE(fmt::format("seed {}, dies at step {}", seed, step));
      Medium medium;
      prepare(medium);
      died = false;
      try {
        action(medium, step, seed);
      } catch (const Crash&) {
        died = true;
      }
      inspect(medium);
    }
    EXPECT_GE(step, 4U);  // each change has several steps to die at
  }
}

void make(Medium& medium) {
  CrashingMemory memory(medium, kNever, 0);
  format(memory, {.force = true, .system_uuid = master_uuid()});
}

CheckReport fsck(Medium& medium) {
  CrashingMemory memory(medium, kNever, 0);
  return check(memory, {.system_uuid = master_uuid()});
}

TEST(CrashDuring, Append) {
  die_at_every_step(
      [](Medium& medium) {
        make(medium);
        mount(medium, master_uuid())->make_directory(a_directory("d"));
      },
      [](Medium& medium, uint64_t step, unsigned seed) {
        mount(medium, master_uuid(), step, seed)->create_file(a_file("d/f", 100));
      },
      [](Medium& medium) {
        // A client plays all that is announced.
        const auto client = mount(medium, client_uuid());
        EXPECT_FALSE(client->last_refresh().stopped);
        const uint64_t seen = client->tree()->count();
        EXPECT_GE(seen, 2U);
        // The master leaves a clean log, appends to it, and the client sees it.
        const auto master = mount(medium, master_uuid());
        EXPECT_GE(master->tree()->count(), seen);
        EXPECT_TRUE(fsck(medium).clean());
        master->create_file(a_file("d/g", 100));
        client->refresh();
        EXPECT_NE(client->tree()->lookup_path("d/g"), nullptr);
        EXPECT_TRUE(fsck(medium).clean());
      });
}

TEST(CrashDuring, BatchAppend) {
  const std::vector<CreateRequest> requests = {a_directory("d"), a_file("d/a", 1), a_file("d/b", 1),
                                               a_file("d/c", 1)};
  die_at_every_step([](Medium& medium) { make(medium); },
                    [&](Medium& medium, uint64_t step, unsigned seed) {
                      mount(medium, master_uuid(), step, seed)->create(requests);
                    },
                    [&](Medium& medium) {
                      const uint64_t seen = mount(medium, client_uuid())->tree()->count();
                      EXPECT_TRUE(seen == 1 || seen == 5) << seen;
                      EXPECT_FALSE(mount(medium, client_uuid())->last_refresh().stopped);
                      const auto master = mount(medium, master_uuid());
                      EXPECT_TRUE(fsck(medium).clean());
                      master->make_directory(a_directory("after"));
                      EXPECT_TRUE(fsck(medium).clean());
                    });
}

TEST(CrashDuring, FirstMkfs) {
  die_at_every_step([](Medium&) {},
                    [](Medium& medium, uint64_t step, unsigned seed) {
                      CrashingMemory memory(medium, step, seed);
                      format(memory, {.system_uuid = master_uuid()});
                    },
                    [](Medium& medium) {
                      const int code = error_code_of([&] { mount(medium, client_uuid()); });
                      EXPECT_TRUE(code == 0 || code == ENODATA) << code;
                      make(medium);
                      EXPECT_TRUE(fsck(medium).clean());
                    });
}

TEST(CrashDuring, MkfsOverAFileSystem) {
  base::Uuid old;
  die_at_every_step(
      [&](Medium& medium) {
        make(medium);
        const auto master = mount(medium, master_uuid());
        old = master->superblock().fs_uuid;
        master->make_directory(a_directory("d"));
        master->create_file(a_file("d/f", 1));
      },
      [](Medium& medium, uint64_t step, unsigned seed) {
        CrashingMemory memory(medium, step, seed);
        format(memory, {.force = true, .system_uuid = master_uuid()});
      },
      [&](Medium& medium) {
        // The old file system whole, none, or the new one empty; never a mixture.
        const int code = error_code_of([&] {
          const auto client = mount(medium, client_uuid());
          EXPECT_FALSE(client->last_refresh().stopped);
          const bool is_old = client->superblock().fs_uuid == old;
          EXPECT_EQ(client->tree()->count(), is_old ? 3U : 1U);
        });
        EXPECT_TRUE(code == 0 || code == ENODATA) << code;
      });
}

TEST(CrashDuring, Repair) {
  die_at_every_step(
      [](Medium& medium) {
        make(medium);
        mount(medium, master_uuid())->create(std::vector{a_directory("a"), a_directory("b")});
        // As if the append had died before it announced anything.
        CrashingMemory memory(medium, kNever, 0);
        memory.store_word(media::kLogOffset + media::kNextSeqnumOffset, 0);
        memory.store_word(media::kLogOffset + media::kNextIndexOffset, 0);
        memory.publish(media::kLogOffset, media::kLogHeaderSize);
      },
      [](Medium& medium, uint64_t step, unsigned seed) {
        mount(medium, master_uuid(), step, seed)->make_directory(a_directory("c"));
      },
      [](Medium& medium) {
        EXPECT_FALSE(mount(medium, client_uuid())->last_refresh().stopped);
        EXPECT_GE(mount(medium, master_uuid())->tree()->count(), 3U);
        EXPECT_TRUE(fsck(medium).clean());
      });
}

}  // namespace
}  // namespace famfs::volume
