// SPDX-License-Identifier: Apache-2.0
// Contract: the control interface's request numbers and layouts are what programs were built with.
#include "fuse/ioctl.h"

#include <gtest/gtest.h>

#include <cstddef>

namespace famfs::fuse::ioctl {
namespace {

TEST(Ioctl, NumbersAreFixed) {
  EXPECT_EQ(kCreateFiles, 0xFE08FA01U);
  EXPECT_EQ(kMakeDirectory, 0xC260FA02U);
  EXPECT_EQ(kRefresh, 0xC218FA03U);
  EXPECT_EQ(kGetMap, 0xC3B0FA04U);
  EXPECT_EQ(kGetWindow, 0xC2D8FA05U);
  EXPECT_EQ(kAddDevice, 0xC608FA06U);
  EXPECT_EQ(kGetDevice, 0xC620FA07U);
}

TEST(Ioctl, LayoutIsFixed) {
  EXPECT_EQ(offsetof(CreateFiles, created), 516U);
  EXPECT_EQ(offsetof(CreateFiles, file), 520U);
  EXPECT_EQ(offsetof(NewFile, chunk_size), 8U);
  EXPECT_EQ(offsetof(NewFile, strips), 16U);
  EXPECT_EQ(offsetof(NewFile, mode), 24U);
  EXPECT_EQ(offsetof(NewFile, name), 40U);
  EXPECT_EQ(offsetof(MakeDirectory, name), 528U);
  EXPECT_EQ(offsetof(GetMap, method), 536U);
  EXPECT_EQ(offsetof(GetMap, extent), 560U);
  EXPECT_EQ(offsetof(GetWindow, device), 528U);
  EXPECT_EQ(offsetof(GetWindow, part), 536U);
  EXPECT_EQ(offsetof(AddDevice, path), 520U);
  EXPECT_EQ(offsetof(GetDevice, path), 544U);
}

}  // namespace
}  // namespace famfs::fuse::ioctl
