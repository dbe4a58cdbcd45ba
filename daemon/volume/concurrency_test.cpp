// SPDX-License-Identifier: Apache-2.0
// One volume used by many threads at once; run under ThreadSanitizer too.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "memory/open.h"
#include "testing/example_volume.h"
#include "testing/temporary_directory.h"
#include "volume/check.h"
#include "volume/volume.h"

namespace famfs::volume {
namespace {

using ::famfs::testing::a_directory;
using ::famfs::testing::a_file;
using ::famfs::testing::client_uuid;
using ::famfs::testing::master_uuid;
using ::famfs::testing::TemporaryDirectory;

class Concurrency : public ::testing::TestWithParam<memory::Backend> {
 protected:
  std::unique_ptr<memory::SharedMemory> host() const {
    return memory::open_memory(path_, memory::Access::kReadWrite, GetParam());
  }
  std::unique_ptr<Volume> mount(const base::Uuid& uuid) const {
    return Volume::open(host(), {.system_uuid = uuid});
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_.sparse_file("image", media::kMinimumDeviceSize);
};

TEST_P(Concurrency, CreatorsRefreshersAndReaders) {
  constexpr int kCreators = 3;
  constexpr int kFiles = 40;
  format(*host(), {.system_uuid = master_uuid()});
  const auto master = mount(master_uuid());
  const auto client = mount(client_uuid());
  std::atomic<bool> done{false};
  {
    std::vector<std::jthread> readers;
    for (Volume* volume : {master.get(), client.get(), client.get()}) {
      readers.emplace_back([volume, &done] {
        while (!done) {
          const RefreshResult result = volume->refresh();
          EXPECT_FALSE(result.stopped);
          const auto tree = volume->tree();
          for (uint64_t id = 1; id <= tree->count(); ++id) {
            EXPECT_EQ(tree->lookup_path(tree->path_of(id)), tree->find(id));
          }
        }
      });
    }
    readers.emplace_back([&] {
      while (!done) {
        EXPECT_TRUE(client->check_identity());
        EXPECT_LE(client->space().used, client->space().capacity);
        EXPECT_GE(client->statistics().header_checks, 1U);
        client->set_attributes(tree::kRoot, {.mode = 0700});
        EXPECT_TRUE(client->files_at(0, 0, media::kLogOffset).empty());
        (void)client->last_refresh();
      }
    });
    {
      std::vector<std::jthread> creators;
      creators.reserve(kCreators);
      for (int c = 0; c < kCreators; ++c) {
        creators.emplace_back([&master, c] {
          const std::string directory = "d" + std::to_string(c);
          master->make_directory(a_directory(directory));
          for (int i = 0; i < kFiles; ++i) {
            master->create_file(a_file(fmt::format("{}/{}", directory, i), 1 + i));
          }
        });
      }
    }
    done = true;
  }
  client->refresh();
  EXPECT_EQ(client->tree()->count(), 1U + kCreators * (kFiles + 1));
  const auto report = check(*host(), {.system_uuid = master_uuid()});
  EXPECT_TRUE(report.clean()) << format_report(report, {});
  EXPECT_EQ(report.files, kCreators * kFiles);
}

INSTANTIATE_TEST_SUITE_P(Backends, Concurrency,
                         ::testing::Values(memory::Backend::kFile, memory::Backend::kNoncoherent),
                         [](const auto& info) {
                           return info.param == memory::Backend::kFile ? "File" : "Noncoherent";
                         });

}  // namespace
}  // namespace famfs::volume
