// SPDX-License-Identifier: Apache-2.0
// Two hosts whose caches know nothing of each other: what one writes, the other sees only if each
// write-back, fence and invalidation is in its place.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "base/test_pattern.h"
#include "memory/open.h"
#include "testing/example_volume.h"
#include "testing/temporary_directory.h"
#include "tree/fmap.h"
#include "volume/check.h"
#include "volume/volume.h"

namespace famfs::volume {
namespace {

using ::famfs::testing::a_directory;
using ::famfs::testing::a_file;
using ::famfs::testing::client_uuid;
using ::famfs::testing::error_code_of;
using ::famfs::testing::kMiB;
using ::famfs::testing::master_uuid;
using ::famfs::testing::TemporaryDirectory;

class TwoHosts : public ::testing::Test {
 protected:
  // A host with a cold cache.
  std::unique_ptr<memory::SharedMemory> host() const {
    return memory::open_memory(path_, memory::Access::kReadWrite, memory::Backend::kNoncoherent);
  }
  void format_from_another_host() const {
    const auto memory = host();
    format(*memory, {.force = true, .system_uuid = master_uuid()});
  }
  std::unique_ptr<Volume> mount(const base::Uuid& uuid) const {
    return Volume::open(host(), {.system_uuid = uuid});
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_.sparse_file("image", media::kMinimumDeviceSize);
};

// The client's host had the medium in its cache before mkfs ran elsewhere.
TEST_F(TwoHosts, MkfsIsSeenByAHostWithOldLines) {
  auto early = host();
  format_from_another_host();
  const auto client = Volume::open(std::move(early), {.system_uuid = client_uuid()});
  EXPECT_EQ(client->last_refresh().stopped, std::nullopt);
  EXPECT_EQ(client->tree()->count(), 1U);
}

TEST_F(TwoHosts, MkfsOverAnOldFileSystemLeavesNothingOfIt) {
  format_from_another_host();
  {
    const auto master = mount(master_uuid());
    for (int i = 0; i < 20; ++i) master->make_directory(a_directory("d" + std::to_string(i)));
  }
  auto early = host();
  format_from_another_host();
  const auto report = check(*early, {.system_uuid = master_uuid()});
  EXPECT_TRUE(report.clean()) << format_report(report, {.verbose = true});
  EXPECT_EQ(report.entries_used, 0U);
}

TEST_F(TwoHosts, FilesAppearOnTheClient) {
  format_from_another_host();
  const auto master = mount(master_uuid());
  const auto client = mount(client_uuid());
  for (int i = 0; i < 10; ++i) {
    const std::string name = "d" + std::to_string(i);
    master->make_directory(a_directory(name));
    master->create_file(a_file(name + "/f", 100));
    const RefreshResult result = client->refresh();
    EXPECT_EQ(result.entries, 2U) << i;
    EXPECT_EQ(result.stopped, std::nullopt) << i;
    EXPECT_NE(client->tree()->lookup_path(name + "/f"), nullptr);
  }
}

TEST_F(TwoHosts, BatchesAppearWhole) {
  format_from_another_host();
  const auto master = mount(master_uuid());
  const auto client = mount(client_uuid());
  std::vector<CreateRequest> requests;
  requests.reserve(100);
  for (int i = 0; i < 100; ++i) requests.push_back(a_file("f" + std::to_string(i), 1));
  master->create(requests);
  EXPECT_EQ(client->refresh().new_nodes, 100U);
}

TEST_F(TwoHosts, RemadeFileSystemIsNoticed) {
  format_from_another_host();
  const auto client = mount(client_uuid());
  EXPECT_TRUE(client->check_identity());
  format_from_another_host();
  EXPECT_EQ(error_code_of([&] { client->refresh(); }), ESTALE);
}

TEST_F(TwoHosts, PeriodicCheckNoticesARemadeFileSystem) {
  format_from_another_host();
  const auto client = mount(client_uuid());
  format_from_another_host();
  EXPECT_FALSE(client->check_identity());
}

TEST_F(TwoHosts, KillIsNoticed) {
  format_from_another_host();
  const auto client = mount(client_uuid());
  kill(*host(), true);
  EXPECT_FALSE(client->check_identity());
}

TEST_F(TwoHosts, MkfsSeesTheFileSystemOfAnotherHost) {
  const auto early = host();
  format_from_another_host();
  EXPECT_EQ(error_code_of([&] { format(*early, {.system_uuid = client_uuid()}); }), EEXIST);
  EXPECT_TRUE(kill(*early, true));
}

TEST_F(TwoHosts, RepairIsSeenByTheClient) {
  format_from_another_host();
  mount(master_uuid())->make_directory(a_directory("d"));
  const auto client = mount(client_uuid());
  {
    // An append that stopped before it announced its entry.
    const auto memory = host();
    const media::DirectoryEntry entry{"e", 0, 0, 0755};
    memory->store(media::log_entry_offset(1), media::encode({1, entry}));
    memory->publish(media::log_entry_offset(1), media::kLogEntrySize);
  }
  EXPECT_EQ(client->refresh().entries, 0U);
  mount(master_uuid());
  EXPECT_EQ(client->refresh().entries, 1U);
}

TEST_F(TwoHosts, FileDataGoesAcross) {
  format_from_another_host();
  const auto master = mount(master_uuid());
  auto request = a_file("f", 9'000'001);
  request.interleave = alloc::Interleave{4, 3, 2 * kMiB};
  const tree::NodeId id = master->create_file(request);
  const auto client = mount(client_uuid());
  const media::FileMap map = client->tree()->find(id)->map;

  base::TestPattern pattern(42);
  for (uint64_t at = 0; at < request.size;) {
    const tree::Segment segment = *tree::resolve(map, request.size, at);
    pattern.fill(master->memory().begin_write(segment.device_offset, segment.length));
    master->memory().publish(segment.device_offset, segment.length);
    at += segment.length;
  }
  base::TestPattern expected(42);
  for (uint64_t at = 0; at < request.size;) {
    const tree::Segment segment = *tree::resolve(map, request.size, at);
    EXPECT_EQ(
        expected.first_difference(client->memory().acquire(segment.device_offset, segment.length)),
        std::nullopt)
        << at;
    at += segment.length;
  }
}

}  // namespace
}  // namespace famfs::volume
