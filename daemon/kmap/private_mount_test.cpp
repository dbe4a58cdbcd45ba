// SPDX-License-Identifier: Apache-2.0
// Contract: the running kernel can be asked what it offers, as often as wanted, without a trace.
#include "kmap/private_mount.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace famfs::kmap {
namespace {

std::string mounts() {
  std::ifstream file("/proc/self/mountinfo");
  return {std::istreambuf_iterator<char>(file), {}};
}

std::ptrdiff_t open_files() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

TEST(ProbeKernel, SaysWhatTheKernelHasOrThatItMayNotBeAsked) {
  const std::string mounts_before = mounts();
  const std::ptrdiff_t files_before = open_files();
  for (int round = 0; round < 3; ++round) {
    const auto offer = probe_kernel();
    if (geteuid() != 0) continue;  // who is not root may be refused
    ASSERT_TRUE(offer);
    EXPECT_EQ(offer->major, 7U);
    EXPECT_GE(offer->minor, 31U);
    EXPECT_NE(offer->flags, 0U);
  }
  EXPECT_EQ(mounts(), mounts_before);
  EXPECT_EQ(open_files(), files_before);
}

}  // namespace
}  // namespace famfs::kmap
