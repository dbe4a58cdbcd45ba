// SPDX-License-Identifier: Apache-2.0
// Contract: who may create in a directory over ioctl(2) is who may do it with open(2) elsewhere.
#include "fuse/caller.h"

#include <gtest/gtest.h>

namespace famfs::fuse {
namespace {

tree::Node directory(std::uint32_t mode) {
  tree::Node node;
  node.directory = true;
  node.mode = mode;
  node.uid = 1000;
  node.gid = 2000;
  return node;
}

const Caller kRoot{0, 0, {}};
const Caller kOwner{1000, 1, {}};
const Caller kMember{1, 1, {5, 2000}};
const Caller kOther{1, 1, {5}};

TEST(Caller, RootMayAlways) { EXPECT_TRUE(kRoot.may_create_in(directory(0))); }

TEST(Caller, OwnerNeedsWriteAndSearch) {
  EXPECT_TRUE(kOwner.may_create_in(directory(0300)));
  EXPECT_FALSE(kOwner.may_create_in(directory(0200)));
  EXPECT_FALSE(kOwner.may_create_in(directory(0077)));
}

TEST(Caller, GroupBitsAreForMembersOnly) {
  EXPECT_TRUE(kMember.may_create_in(directory(0030)));
  EXPECT_FALSE(kMember.may_create_in(directory(0703)));
  EXPECT_FALSE(kOther.may_create_in(directory(0770)));
  EXPECT_TRUE(kOther.may_create_in(directory(0003)));
}

TEST(Caller, OnlyRootGivesFilesAway) {
  EXPECT_TRUE(kRoot.may_own(7, 8));
  EXPECT_TRUE(kMember.may_own(1, 2000));
  EXPECT_FALSE(kMember.may_own(1, 3000));
  EXPECT_FALSE(kMember.may_own(2, 2000));
}

}  // namespace
}  // namespace famfs::fuse
