// SPDX-License-Identifier: Apache-2.0
// Contract: a log entry as YAML says all and comes back the same; the tree never leaves its
// directory.
#include "cli/shadow_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "base/error.h"

namespace famfs::cli {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

media::FileEntry contiguous() {
  media::FileEntry entry;
  entry.path = "docs/a: \"b\"";
  entry.size = 3000000;
  entry.uid = 1001;
  entry.gid = 1002;
  entry.mode = 0600;
  entry.map = {0, {{0, 0x1000000, 0x400000}}};
  return entry;
}

media::FileEntry interleaved() {
  media::FileEntry entry = contiguous();
  entry.path = "rows";
  entry.map = {0x200000, {{0, 0x40000000, 0x400000}, {0, 0x80000000, 0x400000}}};
  return entry;
}

media::DirectoryEntry directory(const std::string& path) { return {path, 0, 0, 0755}; }

class Shadow : public testing::Test {
 public:
  ~Shadow() override { fs::remove_all(top_); }

 protected:
  Shadow() {
    std::string name = (fs::temp_directory_path() / "famfs-shadow-XXXXXX").string();
    top_ = mkdtemp(name.data());
    fs::create_directory(top_ / "shadow");
  }

  static std::string content(const fs::path& path) {
    std::ifstream in(path);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
  }

  fs::path top_;
};

TEST(ShadowYaml, ComesBackTheSame) {
  EXPECT_EQ(from_yaml(to_yaml(contiguous())), contiguous());
  EXPECT_EQ(from_yaml(to_yaml(interleaved())), interleaved());
}

TEST(ShadowYaml, HasTheReferenceForm) {
  const std::string text = to_yaml(interleaved());
  EXPECT_THAT(text, HasSubstr("mode: 0600"));
  EXPECT_THAT(text, HasSubstr("nextents: 1"));
  EXPECT_THAT(text, HasSubstr("striped_ext_list:"));
  EXPECT_THAT(text, HasSubstr("chunk_size: 0x200000"));
  EXPECT_THAT(text, HasSubstr("offset: 0x40000000"));
}

TEST(ShadowYaml, MalformedTextIsRefused) {
  std::string escaping = to_yaml(contiguous());
  escaping.replace(escaping.find("docs/"), 5, "../x/");
  for (const std::string& bad :
       {std::string(), std::string("file"), std::string("file:\n  path: a\n"), std::string("[[["),
        std::string("file: {path: a, size: -1}"), std::string(17 << 10, ' '),
        std::string(8000, '['), escaping}) {
    EXPECT_THROW(from_yaml(bad), base::Error) << bad.substr(0, 80);
  }
}

TEST_F(Shadow, EntriesBecomeDirectoriesAndFiles) {
  ShadowTree tree(top_ / "shadow");
  tree.play({0, directory("docs")}, false);
  tree.play({1, contiguous()}, false);
  EXPECT_EQ(tree.made(), 2U);
  EXPECT_EQ(from_yaml(content(top_ / "shadow" / contiguous().path)), contiguous());
  // Again: nothing is made, and everything still says the same.
  tree.play({0, directory("docs")}, true);
  tree.play({1, contiguous()}, true);
  EXPECT_EQ(tree.made(), 2U);
}

TEST_F(Shadow, SubdirectoryRootIsUsedWhenThereIsOne) {
  fs::create_directory(top_ / "shadow" / "root");
  ShadowTree tree(top_ / "shadow");
  tree.play({0, directory("docs")}, false);
  EXPECT_TRUE(fs::is_directory(top_ / "shadow" / "root" / "docs"));
}

TEST_F(Shadow, DifferenceIsFoundOnlyWhenComparing) {
  ShadowTree tree(top_ / "shadow");
  tree.play({0, interleaved()}, false);
  media::FileEntry other = interleaved();
  other.size += 1;
  EXPECT_NO_THROW(tree.play({0, other}, false));
  EXPECT_THROW(tree.play({0, other}, true), base::Error);
}

TEST_F(Shadow, NothingIsMadeOutside) {
  fs::create_directory(top_ / "outside");
  fs::create_directory_symlink(top_ / "outside", top_ / "shadow" / "link");
  ShadowTree tree(top_ / "shadow");
  media::FileEntry entry = contiguous();
  for (const char* path : {"link/f", "../outside/f", "link/../../outside/f"}) {
    entry.path = path;
    EXPECT_THROW(tree.play({0, entry}, false), base::Error) << path;
    EXPECT_THROW(tree.play({0, directory(path)}, false), base::Error) << path;
  }
  EXPECT_THROW(tree.play({0, directory("link")}, false), base::Error);
  EXPECT_TRUE(fs::is_empty(top_ / "outside"));
}

TEST_F(Shadow, TargetMustBeADirectory) {
  std::ofstream(top_ / "file") << "x";
  EXPECT_THROW(ShadowTree(top_ / "file"), base::Error);
  EXPECT_THROW(ShadowTree(top_ / "missing"), base::Error);
}

}  // namespace
}  // namespace famfs::cli
