// SPDX-License-Identifier: Apache-2.0
// A file system that the reference wrote, byte for byte. FAMFS_REFERENCE_IMAGE names the archive
// (tar.zst of one image), beside it NAME.json says what it holds.
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "base/file_descriptor.h"
#include "log/reader.h"
#include "memory/open.h"
#include "testing/temporary_directory.h"
#include "tree/fmap.h"
#include "volume/check.h"
#include "volume/volume.h"

namespace famfs::volume {
namespace {

namespace fs = std::filesystem;
using ::famfs::testing::TemporaryDirectory;

struct PipeCloser {
  void operator()(FILE* pipe) const { ::pclose(pipe); }
};

class ReferenceImage : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* archive = std::getenv("FAMFS_REFERENCE_IMAGE");
    if (archive == nullptr || *archive == '\0') {
      GTEST_SKIP() << "FAMFS_REFERENCE_IMAGE does not name the reference image's archive";
    }
    const std::string command =
        fmt::format("tar --zstd -xSf '{}' -C '{}'", archive, directory_.path());
    ASSERT_EQ(std::system(command.c_str()), 0) << command;  // NOLINT(cert-env33-c)
    for (const auto& file : fs::directory_iterator(directory_.path())) image_ = file.path();
    ASSERT_FALSE(image_.empty());
    const std::string stem = fs::path(archive).filename().string();
    facts_ = YAML::LoadFile(fs::path(archive).parent_path() /
                            (stem.substr(0, stem.find('.')) + ".json"));
  }
  std::unique_ptr<memory::SharedMemory> memory() const {
    return memory::open_memory(image_, memory::Access::kReadOnly);
  }
  // SHA-256 of the file, read through its map.
  std::string sha256(Volume& volume, const tree::Node& node) const {
    const std::string out = directory_ / "sha256";
    std::unique_ptr<FILE, PipeCloser> pipe(::popen(("sha256sum > " + out).c_str(), "w"));
    for (uint64_t at = 0; at < node.size;) {
      const tree::Segment segment = tree::resolve(node.map, node.size, at).value();
      const auto bytes = volume.memory().acquire(segment.device_offset, segment.length);
      EXPECT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), pipe.get()), bytes.size());
      at += segment.length;
    }
    pipe.reset();
    return base::read_small_file(out).substr(0, 64);
  }

  TemporaryDirectory directory_;
  std::string image_;
  YAML::Node facts_;
};

TEST_F(ReferenceImage, CheckFindsTheReferencesNumbers) {
  const auto opened = memory();
  const CheckReport report = check(*opened, {});
  EXPECT_TRUE(report.clean()) << format_report(report, {});
  const YAML::Node fsck = facts_["fsck"];
  EXPECT_EQ(report.superblock->fs_uuid.to_string(), facts_["fs_uuid"].as<std::string>());
  EXPECT_EQ(report.superblock->system_uuid.to_string(), facts_["system_uuid"].as<std::string>());
  EXPECT_EQ(report.entries_used, facts_["log_entries"].as<uint64_t>());
  EXPECT_EQ(report.capacity, fsck["capacity"].as<uint64_t>());
  EXPECT_EQ(report.file_bytes, fsck["sum_of_file_sizes"].as<uint64_t>());
  EXPECT_EQ(report.used, fsck["allocated"].as<uint64_t>());
  EXPECT_EQ(report.free, fsck["free"].as<uint64_t>());
  EXPECT_EQ(report.files, fsck["files"].as<uint64_t>());
  EXPECT_EQ(report.directories, fsck["directories"].as<uint64_t>());
}

TEST_F(ReferenceImage, DirectoriesAreAsRecorded) {
  const auto volume = Volume::open(memory(), {});
  const auto tree = volume->tree();
  for (const auto& item : facts_["directories"]) {
    const auto path = item.first.as<std::string>();
    const tree::Node* node = tree->lookup_path(path);
    ASSERT_NE(node, nullptr) << path;
    EXPECT_TRUE(node->directory);
    EXPECT_EQ(node->mode, std::stoul(item.second["mode"].as<std::string>(), nullptr, 8)) << path;
    EXPECT_EQ(node->uid, item.second["uid"].as<uint32_t>()) << path;
    EXPECT_EQ(node->gid, item.second["gid"].as<uint32_t>()) << path;
  }
}

TEST_F(ReferenceImage, FilesAreAsRecordedDownToTheirBytes) {
  const auto volume = Volume::open(memory(), {});
  const auto tree = volume->tree();
  EXPECT_EQ(tree->files(), facts_["files"].size());
  for (const auto& item : facts_["files"]) {
    const auto path = item.first.as<std::string>();
    const YAML::Node facts = item.second;
    const tree::Node* node = tree->lookup_path(path);
    ASSERT_NE(node, nullptr) << path;
    EXPECT_EQ(node->size, facts["size"].as<uint64_t>()) << path;
    // This host is a client, whose files begin without permission to write.
    EXPECT_EQ(node->mode, std::stoul(facts["mode"].as<std::string>(), nullptr, 8) & ~0222U) << path;
    EXPECT_EQ(node->uid, facts["uid"].as<uint32_t>()) << path;
    EXPECT_EQ(node->map.chunk_size, facts["chunk_size"].as<uint64_t>(0)) << path;
    const YAML::Node extents = facts["extents"] ? facts["extents"] : facts["strips"];
    ASSERT_EQ(node->map.extents.size(), extents.size()) << path;
    for (size_t i = 0; i < extents.size(); ++i) {
      EXPECT_EQ(node->map.extents[i],
                (media::Extent{extents[i][0].as<uint64_t>(), extents[i][1].as<uint64_t>(),
                               extents[i][2].as<uint64_t>()}))
          << path;
    }
    EXPECT_EQ(sha256(*volume, *node), facts["sha256"].as<std::string>()) << path;
  }
}

TEST_F(ReferenceImage, EncodesToTheSameBytes) {
  const auto opened = memory();
  const auto superblock = load_superblock(*opened);
  const auto encoded = media::encode(superblock);
  const auto original = opened->view(0, media::kSuperblockSize);
  // Flags and the device's own uuid are never written by the reference.
  EXPECT_TRUE(std::equal(encoded.begin(), encoded.begin() + 104, original.begin()));
  EXPECT_TRUE(std::equal(encoded.begin() + 112, encoded.begin() + 120, original.begin() + 112));
  EXPECT_TRUE(std::equal(encoded.begin() + 136, encoded.end(), original.begin() + 136));
  log::Reader reader(*opened, superblock);
  const auto header = reader.read_header().value.value();
  const auto header_bytes = media::encode(header);
  EXPECT_TRUE(std::equal(header_bytes.begin(), header_bytes.end(),
                         opened->view(media::kLogOffset, media::kLogHeaderSize).begin()));
  for (uint64_t index = 0; index < header.next_index; ++index) {
    const auto entry = reader.read_entry(index);
    ASSERT_TRUE(entry.value) << index;
    const auto bytes = media::encode(*entry.value);
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(),
                           opened->view(media::log_entry_offset(index), bytes.size()).begin()))
        << index;
  }
}

}  // namespace
}  // namespace famfs::volume
