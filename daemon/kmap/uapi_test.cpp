// SPDX-License-Identifier: Apache-2.0
// Contract: the numbers that are said to the kernel are the kernel's.
#include "kmap/uapi.h"

#include <gtest/gtest.h>

namespace famfs::kmap::uapi {
namespace {

TEST(Uapi, IoctlNumbers) {
  EXPECT_EQ(kIoctlBackingCreate, 0x4020E504UL);
  EXPECT_EQ(kIoctlDaxdevRegister, 0x4018E53EUL);
}

TEST(Uapi, Layout) {
  EXPECT_EQ(offsetof(InitIn, flags2), 16U);
  EXPECT_EQ(offsetof(InitOut, flags), 12U);
  EXPECT_EQ(offsetof(InitOut, max_stack_depth), 36U);
  EXPECT_EQ(offsetof(OpenOut, open_flags), 8U);
  EXPECT_EQ(offsetof(OpenOut, backing_id_64), 16U);
  EXPECT_EQ(offsetof(FmapHeader, ext_type), 4U);
  EXPECT_EQ(offsetof(FmapHeader, nextents), 8U);
  EXPECT_EQ(offsetof(FmapHeader, file_size), 16U);
  EXPECT_EQ(offsetof(SimpleExt, offset), 8U);
  EXPECT_EQ(offsetof(Iext, nbytes), 8U);
  EXPECT_EQ(offsetof(BackingMap, flags), 12U);
  EXPECT_EQ(offsetof(BackingExtent, addr), 24U);
  EXPECT_EQ(offsetof(EntryOut, attr), 40U);
  EXPECT_EQ(offsetof(AttrOut, attr), 16U);
}

}  // namespace
}  // namespace famfs::kmap::uapi
