// SPDX-License-Identifier: Apache-2.0
#include "tree/tree.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tree/fmap.h"
#include "tree/name_index.h"

namespace famfs::tree {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1024ull * 1024;

media::LogEntry directory(uint64_t index, const std::string& path) {
  return {index, media::DirectoryEntry{path, 1, 2, 0750}};
}

media::LogEntry file(uint64_t index, const std::string& path, uint64_t size = 100) {
  media::FileEntry entry;
  entry.path = path;
  entry.size = size;
  entry.mode = 0640;
  entry.map.extents = {{0, 10 * kMiB, 2 * kMiB}};
  return {index, entry};
}

TEST(Tree, MetaNeedsNoEntryOfItsOwn) {
  Tree tree;
  media::FileEntry file{.path = ".meta/.alloc.cfg", .size = 1};
  EXPECT_EQ(tree.insert({0, file}), std::nullopt);
  ASSERT_NE(tree.lookup_path(".meta"), nullptr);
  EXPECT_TRUE(tree.lookup_path(".meta")->directory);
  EXPECT_NE(tree.lookup_path(".meta/.alloc.cfg"), nullptr);
  EXPECT_EQ(tree.count(), 3U);
  file.path = ".meta/other";
  EXPECT_EQ(tree.insert({1, file}), std::nullopt);
  EXPECT_EQ(tree.count(), 4U);
  tree.rollback(1);
  EXPECT_EQ(tree.lookup_path(".meta"), nullptr);
  file.path = "meta/x";
  EXPECT_TRUE(tree.insert({0, file}));
  file.path = ".meta/a/b";
  EXPECT_TRUE(tree.insert({0, file}));
}

TEST(Tree, StartsWithTheRoot) {
  const Tree tree;
  ASSERT_NE(tree.find(kRoot), nullptr);
  EXPECT_TRUE(tree.find(kRoot)->directory);
  EXPECT_EQ(tree.find(kRoot)->parent, kRoot);
  EXPECT_EQ(tree.lookup_path(""), tree.find(kRoot));
  EXPECT_EQ(tree.path_of(kRoot), "");
  EXPECT_EQ(tree.count(), 1U);
  EXPECT_EQ(tree.find(0), nullptr);
  EXPECT_EQ(tree.find(2), nullptr);
  EXPECT_EQ(tree.find(UINT64_MAX), nullptr);
}

TEST(Tree, BuildsFromEntries) {
  Tree tree;
  EXPECT_EQ(tree.insert(directory(0, "docs")), std::nullopt);
  EXPECT_EQ(tree.insert(file(1, "docs/a", 5)), std::nullopt);
  EXPECT_EQ(tree.insert(directory(2, "docs/deep")), std::nullopt);
  EXPECT_EQ(tree.insert(file(3, "docs/deep/b", 7)), std::nullopt);
  const Node* docs = tree.lookup(kRoot, "docs");
  ASSERT_NE(docs, nullptr);
  EXPECT_EQ(docs->id, 2U);
  EXPECT_EQ(docs->mode, 0750U);
  EXPECT_EQ(docs->gid, 2U);
  EXPECT_THAT(docs->children, ElementsAre(3, 4));
  EXPECT_EQ(docs->subdirectories, 1U);
  const Node* b = tree.lookup_path("docs/deep/b");
  ASSERT_NE(b, nullptr);
  EXPECT_FALSE(b->directory);
  EXPECT_EQ(b->size, 7U);
  EXPECT_EQ(b->map.extents.size(), 1U);
  EXPECT_EQ(tree.path_of(b->id), "docs/deep/b");
  EXPECT_EQ(tree.files(), 2U);
  EXPECT_EQ(tree.directories(), 3U);
  EXPECT_EQ(tree.file_bytes(), 12U);
  EXPECT_EQ(tree.lookup(b->id, "x"), nullptr);
  EXPECT_EQ(tree.lookup(99, "x"), nullptr);
  EXPECT_EQ(tree.lookup_path("docs/nothing/b"), nullptr);
}

TEST(Tree, RefusesContradictions) {
  Tree tree;
  ASSERT_EQ(tree.insert(directory(0, "d")), std::nullopt);
  ASSERT_EQ(tree.insert(file(1, "f")), std::nullopt);
  const auto refused = [&](const media::LogEntry& entry, const char* why) {
    const auto finding = tree.insert(entry);
    ASSERT_TRUE(finding) << why;
    EXPECT_EQ(finding->index, entry.index);
    EXPECT_EQ(finding->field, "relpath");
    EXPECT_THAT(finding->found, HasSubstr(why));
  };
  refused(file(2, "f"), "exists already");
  refused(directory(3, "d"), "exists already");
  refused(file(4, "d"), "exists already");
  refused(file(5, "zz/f1"), "its directory does not exist");
  refused(file(6, "f/g"), "below a file");
  EXPECT_EQ(tree.count(), 3U);
}

TEST(Tree, OtherEntriesChangeNothing) {
  Tree tree;
  EXPECT_EQ(tree.insert({0, media::UnknownEntry{2}}), std::nullopt);
  EXPECT_EQ(tree.insert({1, media::DaxDeviceEntry{}}), std::nullopt);
  EXPECT_EQ(tree.count(), 1U);
}

TEST(Tree, RollbackUndoesInsertions) {
  Tree tree;
  tree.insert(directory(0, "d"));
  tree.insert(file(1, "d/a", 5));
  tree.insert(directory(2, "d/e"));
  tree.insert(file(3, "d/e/f", 5));
  tree.rollback(2);
  EXPECT_EQ(tree.count(), 2U);
  EXPECT_TRUE(tree.lookup_path("d")->children.empty());
  EXPECT_EQ(tree.lookup_path("d")->subdirectories, 0U);
  EXPECT_EQ(tree.files(), 0U);
  EXPECT_EQ(tree.file_bytes(), 0U);
  EXPECT_EQ(tree.lookup_path("d/a"), nullptr);
  EXPECT_EQ(tree.insert(file(1, "d/a")), std::nullopt);
  tree.rollback(0);
  EXPECT_EQ(tree.count(), 1U);
}

TEST(Tree, NodesDoNotMove) {
  Tree tree;
  tree.insert(directory(0, "d"));
  const Node* d = tree.lookup_path("d");
  for (uint64_t i = 1; i < 5000; ++i) tree.insert(file(i, "d/" + std::to_string(i)));
  EXPECT_EQ(tree.lookup_path("d"), d);
  EXPECT_EQ(d->children.size(), 4999U);
  EXPECT_EQ(tree.find(d->children[1234])->name, "1235");
}

TEST(Tree, FindsEachOfManyNames) {
  Tree tree;
  tree.expect(100);
  for (const char* parent : {"a", "b"}) {
    tree.insert(directory(0, parent));
    for (int i = 0; i < 3000; ++i) tree.insert(file(0, fmt::format("{}/{}", parent, i)));
  }
  tree.rollback(4000);
  for (int i = 0; i < 3000; ++i) {
    ASSERT_NE(tree.lookup_path(fmt::format("a/{}", i)), nullptr) << i;
    ASSERT_EQ(tree.lookup_path(fmt::format("b/{}", i)) != nullptr, i < 997) << i;
  }
  EXPECT_EQ(tree.lookup_path("a/3000"), nullptr);
}

// Few hashes, so that most numbers are not where they belong, and the tags often equal.
TEST(NameIndex, KeepsWhatCollides) {
  const auto hash_of = [](uint64_t number) -> size_t { return number % 5 << 38 | number % 3; };
  const auto is = [](uint64_t wanted) { return [wanted](uint64_t n) { return n == wanted; }; };
  NameIndex index;
  std::set<uint64_t> there;
  const auto check = [&] {
    for (uint64_t n = 1; n <= 200; ++n) {
      ASSERT_EQ(index.find(hash_of(n), is(n)), there.contains(n) ? n : 0) << n;
    }
  };
  for (uint64_t n = 1; n <= 200; ++n) {
    index.insert(hash_of(n), n, hash_of);
    there.insert(n);
  }
  check();
  for (uint64_t n = 7; n <= 200; n += 1 + n % 3) {
    index.erase(hash_of(n), n, hash_of);
    there.erase(n);
    check();
  }
  index.reserve(1000, hash_of);
  check();
}

TEST(NameHash, IsOfDirectoryNameAndKey) {
  const NameHash hash;
  const NameHash copy = hash;
  EXPECT_EQ(hash(1, "name"), copy(1, "name"));
  EXPECT_NE(hash(1, "name"), hash(2, "name"));
  EXPECT_NE(hash(1, "name"), hash(1, "names"));
  EXPECT_NE(hash(1, "name"), NameHash()(1, "name"));
}

TEST(Tree, AttributesAreLocal) {
  Tree tree;
  tree.insert(file(0, "f"));
  EXPECT_TRUE(
      tree.set_attributes(2, {.mode = 0100600, .uid = 7, .modification_time = timespec{5, 6}}));
  const Node* f = tree.find(2);
  EXPECT_EQ(f->mode, 0600U);
  EXPECT_EQ(f->uid, 7U);
  EXPECT_EQ(f->gid, 0U);
  EXPECT_EQ(f->modification_time.tv_sec, 5);
  EXPECT_NE(f->access_time.tv_sec, 0);
  EXPECT_FALSE(tree.set_attributes(3, {}));
}

TEST(Resolve, SimpleExtentsFollowEachOther) {
  const media::FileMap map{0, {{0, 100, 10}, {0, 50, 20}}};
  EXPECT_EQ(resolve(map, 25, 0), (Segment{0, 100, 10}));
  EXPECT_EQ(resolve(map, 25, 9), (Segment{0, 109, 1}));
  EXPECT_EQ(resolve(map, 25, 10), (Segment{0, 50, 15}));
  EXPECT_EQ(resolve(map, 25, 24), (Segment{0, 64, 1}));
  EXPECT_EQ(resolve(map, 25, 25), std::nullopt);
  EXPECT_EQ(resolve(map, 25, UINT64_MAX), std::nullopt);
}

TEST(Resolve, InterleavedRowsAndChunks) {
  const media::FileMap map{16, {{0, 1000, 32}, {0, 2000, 32}, {0, 3000, 32}}};
  EXPECT_EQ(resolve(map, 90, 0), (Segment{0, 1000, 16}));
  EXPECT_EQ(resolve(map, 90, 20), (Segment{0, 2004, 12}));
  EXPECT_EQ(resolve(map, 90, 47), (Segment{0, 3015, 1}));
  EXPECT_EQ(resolve(map, 90, 48), (Segment{0, 1016, 16}));
  EXPECT_EQ(resolve(map, 90, 85), (Segment{0, 3021, 5}));
  EXPECT_EQ(resolve(map, 90, 90), std::nullopt);
}

TEST(Resolve, MapsThatAreTooShortEndEarly) {
  EXPECT_EQ(resolve({}, 100, 0), std::nullopt);
  EXPECT_EQ(resolve({0, {{0, 100, 10}}}, 100, 5), (Segment{0, 105, 5}));
  EXPECT_EQ(resolve({0, {{0, 100, 10}}}, 100, 10), std::nullopt);
  EXPECT_EQ(resolve({16, {{0, 100, 16}, {0, 200, 16}}}, 100, 32), std::nullopt);
}

TEST(Resolve, DoesNotWrap) {
  const uint64_t top = UINT64_MAX;
  EXPECT_EQ(resolve({0, {{0, top, top}}}, top, 5), std::nullopt);
  EXPECT_EQ(resolve({0, {{0, 0, top}}}, top, top - 1), (Segment{0, top - 1, 1}));
  EXPECT_EQ(resolve({uint64_t{1} << 63, {{0, 0, top}}}, top, top - 1), (Segment{0, top - 1, 1}));
  EXPECT_EQ(resolve({1, {{0, top, top}}}, top, 1), std::nullopt);
}

}  // namespace
}  // namespace famfs::tree
