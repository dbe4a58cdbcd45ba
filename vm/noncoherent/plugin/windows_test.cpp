// SPDX-License-Identifier: Apache-2.0
#include "plugin/windows.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace noncoherent {
namespace {

TEST(Windows, OneDevice) {
  const Windows windows = Windows::parse("0x110000000:0x100000000:0:0");
  EXPECT_EQ(windows.find(0x10fffffff), std::nullopt);
  EXPECT_EQ(windows.find(0x110000000), (Place{0, 0}));
  EXPECT_EQ(windows.find(0x20fffffff), (Place{0, 0xffffffff}));
  EXPECT_EQ(windows.find(0x210000000), std::nullopt);
  EXPECT_EQ(windows.find(0), std::nullopt);
}

TEST(Windows, TwoOfThem) {
  const Windows windows = Windows::parse("0x110000000:0x100000000:0:0+0x210000000:0x100000000:0:1");
  EXPECT_EQ(windows.find(0x210000040), (Place{1, 0x40}));
}

TEST(Windows, Interleaved) {
  const Windows windows = Windows::parse("0x110000000:0x200000000:4096:0:1");
  EXPECT_EQ(windows.find(0x110000fff), (Place{0, 0xfff}));
  EXPECT_EQ(windows.find(0x110001000), (Place{1, 0}));
  EXPECT_EQ(windows.find(0x110002010), (Place{0, 0x1010}));
  EXPECT_EQ(windows.find(0x30fffffff), (Place{1, 0xffffffff}));
}

// Each byte of each device is at one address.
TEST(Windows, InterleaveLosesNothing) {
  const Windows windows = Windows::parse("4096:65536:256:3:1:0:2");
  std::vector<std::vector<bool>> seen(4, std::vector<bool>(65536 / 4));
  for (uint64_t address = 4096; address < 4096 + 65536; ++address) {
    const auto place = windows.find(address);
    ASSERT_TRUE(place);
    ASSERT_FALSE(seen.at(place->device).at(place->offset));
    seen[place->device][place->offset] = true;
  }
}

TEST(Windows, SaysWhatIsWrong) {
  for (const char* text :
       {"", "1", "0:0:0:0", "0:4096:0", "0:4096:0:16", "0:8192:128:0:1", "0:12288:256:0:1:2",
        "0:100:0:0", "x:4096:0:0", "0:4096:0:0+4095:4096:0:1", "0x20000000000000:4096:0:0",
        "0:4096:0:-1", "99999999999999999999:1:0:0"}) {
    EXPECT_THROW(Windows::parse(text), std::invalid_argument) << text;
  }
}

}  // namespace
}  // namespace noncoherent
