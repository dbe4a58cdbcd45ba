// SPDX-License-Identifier: Apache-2.0
// Contract: what the command line accepts, how it refuses, and what it makes of paths and mounts.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "cli/command.h"
#include "cli/commands.h"
#include "cli/daemon_options.h"
#include "cli/device_scan.h"
#include "cli/file_spec.h"
#include "cli/layout_options.h"
#include "cli/mount_client.h"
#include "cli/mounts.h"
#include "cli/numbers.h"
#include "cli/parallel.h"
#include "cli/readiness.h"
#include "testing/temporary_directory.h"

namespace famfs::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

TEST(Numbers, DecimalAndHexadecimalWithinBounds) {
  EXPECT_EQ(parse_number("42", 100), 42U);
  EXPECT_EQ(parse_number("0x2A", 100), 42U);
  EXPECT_EQ(parse_number("18446744073709551615", UINT64_MAX), UINT64_MAX);
  for (const char* bad : {"", "101", "-1", "+1", " 1", "1 ", "0x", "1k", "18446744073709551616"}) {
    EXPECT_FALSE(parse_number(bad, 100)) << bad;
  }
}

TEST(Numbers, ModesAreOctal) {
  EXPECT_EQ(parse_mode("0644"), 0644U);
  EXPECT_EQ(parse_mode("7777"), 07777U);
  for (const char* bad : {"", "8", "10000", "0x1", "u+x", "-1"}) {
    EXPECT_FALSE(parse_mode(bad)) << bad;
  }
}

TEST(FileSpec, CreateTakesNameSizeAndSeed) {
  const FileSpec with_seed = parse_create_spec("/mnt/a,3m,7");
  EXPECT_EQ(with_seed.path, "/mnt/a");
  EXPECT_EQ(with_seed.size, 3U << 20);
  EXPECT_EQ(with_seed.seed, 7U);
  EXPECT_TRUE(with_seed.fill);
  const FileSpec without = parse_create_spec("b,4096");
  EXPECT_EQ(without.size, 4096U);
  EXPECT_FALSE(without.fill);
  EXPECT_EQ(parse_create_spec("a,b,4096").path, "a,b");
}

TEST(FileSpec, WrongFormsAreRefused) {
  for (const char* bad : {"", "a", "a,", ",1", "a,x", "a,1,x", "a,99999999999999999999"}) {
    EXPECT_THROW(parse_create_spec(bad), UsageError) << bad;
  }
  for (const char* bad : {"", "a", "a,", ",1", "a,x", "a,4294967296"}) {
    EXPECT_THROW(parse_verify_spec(bad), UsageError) << bad;
  }
  EXPECT_EQ(parse_verify_spec("a,b,4294967295").seed, 4294967295U);
}

TEST(Paths, AreSplitIntoParentAndName) {
  EXPECT_THAT(split_path("/m/d/f"), Pair("/m/d", "f"));
  EXPECT_THAT(split_path("/f"), Pair("/", "f"));
  EXPECT_THAT(split_path("f"), Pair(".", "f"));
  EXPECT_THAT(split_path("d/f//"), Pair("d", "f"));
  for (const char* bad : {"", "/", "//", ".", "a/..", "a/."}) {
    EXPECT_THROW(split_path(bad), base::Error) << bad;
  }
}

TEST(Mounts, EscapesAreUndone) {
  std::istringstream in(
      "/dev/dax0.0 /mnt/a\\040b fuse.famfs rw 0 0\nshort line\n"
      "a\\134b /x ext4 rw 0 0\nnone /y\\04 tmpfs rw 0 0\n");
  const std::vector<Mount> mounts = parse_mounts(in);
  ASSERT_EQ(mounts.size(), 3U);
  EXPECT_EQ(mounts[0].target, "/mnt/a b");
  EXPECT_EQ(mounts[0].type, kMountType);
  EXPECT_EQ(mounts[1].source, "a\\b");
  EXPECT_EQ(mounts[2].target, "/y\\04");
}

TEST(Mounts, CanonicalPathsLoseDotsAndTrailingSlashes) {
  EXPECT_EQ(canonical("/usr/./bin/../"), "/usr");
  EXPECT_EQ(canonical("/"), "/");
}

TEST(MountOptions, ListsAreAppliedInOrder) {
  DaemonOptions options;
  apply_mount_options("memory=noncoherent,method=daemon-served,no_allow_other,ro,nodev,timeout=5",
                      options);
  EXPECT_EQ(options.backend, memory::Backend::kNoncoherent);
  EXPECT_EQ(options.method, "daemon-served");
  EXPECT_FALSE(options.allow_other);
  EXPECT_EQ(options.timeout_seconds, 5.0);
  EXPECT_TRUE(options.read_only);
  EXPECT_THAT(options.mount_flags, ElementsAre("nodev"));
  apply_mount_options("allow_other,,shadow=/a\\,b", options);
  EXPECT_TRUE(options.allow_other);
  EXPECT_EQ(options.run_directory, "/a,b");
}

TEST(MountOptions, WhatIsForMountAloneIsIgnored) {
  DaemonOptions options;
  apply_mount_options(
      "defaults,noauto,nofail,user,user=1000,_netdev,x-systemd.automount,X-mount.mkdir,relatime,"
      "comment=mine",
      options);
  EXPECT_TRUE(options.mount_flags.empty());
  EXPECT_FALSE(options.read_only);
  apply_mount_options("ro,rw", options);
  EXPECT_FALSE(options.read_only);
}

TEST(MountOptions, ImpossibleOnesSayWhy) {
  DaemonOptions options;
  try {
    apply_mount_options("ro,remount", options);
    FAIL() << "remount was accepted";
  } catch (const base::Error& error) {
    EXPECT_EQ(error.code(), EINVAL);
    EXPECT_THAT(error.message(), ::testing::HasSubstr("unmount it"));
  }
}

TEST(MountOptions, WrongOnesAreRefusedByName) {
  for (const char* bad : {"bogus", "memory=paper", "method=none", "timeout=soon", "timeout", "ro=1",
                          "max_threads=-1", "subtype=x", "fsname=x"}) {
    DaemonOptions options;
    try {
      apply_mount_options(bad, options);
      FAIL() << bad << " was accepted";
    } catch (const base::Error& error) {
      EXPECT_EQ(error.code(), EINVAL);
    }
  }
}

TEST(DeviceScan, CandidatesAreNamedOnceAndWithoutTheFirst) {
  const famfs::testing::TemporaryDirectory directory;
  const std::string first = directory.sparse_file("first", 1);
  const std::string second = directory.sparse_file("second", 1);
  const std::string third = directory.sparse_file("third", 1);
  EXPECT_THAT(device_candidates(first, {third, directory.path(), first, directory / "./second"}),
              ElementsAre(third, second));
  EXPECT_THAT(device_candidates(first, {}), ElementsAre());
}

TEST(Interleave, BucketsDefaultToStrips) {
  const auto parsed = [](std::vector<std::string> arguments) {
    CLI::App app;
    LayoutOptions options;
    options.declare(app);
    std::reverse(arguments.begin(), arguments.end());
    app.parse(std::move(arguments));
    return options.interleave_for("/");
  };
  EXPECT_EQ(parsed({"-N", "3"}).buckets, 3U);
  EXPECT_EQ(parsed({"-N", "3", "-B", "8"}).buckets, 8U);
  EXPECT_EQ(parsed({}).strips, 0U);
  EXPECT_EQ(parsed({"-N", "0"}).strips, 0U);
  EXPECT_THROW(parsed({"-B", "8"}), UsageError);
}

TEST(Parallel, EveryItemRunsAndTheFirstFailureCounts) {
  for (const unsigned threads : {0U, 1U, 4U}) {
    std::atomic<int> done = 0;
    const int code = for_each_reported("test", 20, threads, [&](std::size_t index) {
      ++done;
      if (index == 5) throw base::Error(ENOSPC, "five");
      if (index == 7) throw base::Error(EIO, "seven");
    });
    EXPECT_EQ(done, 20);
    EXPECT_EQ(code, ENOSPC);
  }
}

class Readiness : public ::testing::Test {
 protected:
  Readiness() {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    reader_ = base::FileDescriptor(ends[0]);
    writer_ = base::FileDescriptor(ends[1]);
  }

  base::FileDescriptor reader_;
  base::FileDescriptor writer_;
};

TEST_F(Readiness, ReadyTextArrives) {
  EXPECT_TRUE(ReadyWriter(std::move(writer_)).ready("mounted\n"));
  EXPECT_EQ(wait_until_ready(reader_.get()), "mounted\n");
}

TEST_F(Readiness, FailureArrivesWithItsCode) {
  ReadyWriter(std::move(writer_)).failed(base::Error(EBUSY, "in use\nby whom"));
  try {
    wait_until_ready(reader_.get());
    FAIL();
  } catch (const base::Error& error) {
    EXPECT_EQ(error.code(), EBUSY);
    EXPECT_EQ(error.message(), "in use\nby whom");
  }
}

TEST_F(Readiness, DaemonIsToldThatNobodyWaits) {
  std::signal(SIGPIPE, SIG_IGN);
  reader_.reset();
  EXPECT_FALSE(ReadyWriter(std::move(writer_)).ready("mounted\n"));
}

TEST_F(Readiness, DaemonThatDiesIsAnError) {
  writer_.reset();
  EXPECT_THROW(wait_until_ready(reader_.get()), base::Error);
}

// Runs a command that must end before it touches anything.
int run(const Command& command, std::vector<std::string> arguments) {
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const int code = command.run(std::move(arguments));
  ::testing::internal::GetCapturedStdout();
  ::testing::internal::GetCapturedStderr();
  return code;
}

TEST(Commands, HelpSucceeds) {
  for (const Command& command :
       {mount_command(), umount_command(), creat_command(), cp_command(), mkdir_command(),
        logplay_command(), fsck_command(), verify_command(), flush_command(), getmap_command()}) {
    EXPECT_EQ(run(command, {"-?"}), kExitOk) << command.name;
    EXPECT_EQ(run(command, {"--help"}), kExitOk) << command.name;
    EXPECT_EQ(run(command, {"--no-such-option"}), kExitUsage) << command.name;
    EXPECT_EQ(run(command, {}), kExitUsage) << command.name;
  }
}

TEST(Commands, WrongValuesAreUsageErrors) {
  EXPECT_EQ(run(creat_command(), {"-s", "12q", "/f"}), kExitUsage);
  EXPECT_EQ(run(creat_command(), {"-s", "0", "/f"}), kExitUsage);
  EXPECT_EQ(run(creat_command(), {"/f", "-M", "g,1m"}), kExitUsage);
  EXPECT_EQ(run(creat_command(), {"-s", "1m", "-t", "257", "/f"}), kExitUsage);
  EXPECT_EQ(run(creat_command(), {"-s", "1m", "-m", "0999", "/f"}), kExitUsage);
  EXPECT_EQ(run(creat_command(), {"-s", "1m", "-N", "17", "/f"}), kExitUsage);
  EXPECT_EQ(run(verify_command(), {"-m", "noseed"}), kExitUsage);
  EXPECT_EQ(run(cp_command(), {"only-one"}), kExitUsage);
  EXPECT_EQ(run(mount_command(), {"-rm", "/dev/null", "/mnt"}), kExitUsage);
  EXPECT_EQ(run(fsck_command(), {"-B", "65", "/dev/null"}), kExitUsage);
}

TEST(Commands, WhatIsNotFamfsIsRefused) {
  EXPECT_EQ(run(fsck_command(), {"/etc"}), kExitUsage);
  EXPECT_EQ(run(fsck_command(), {"-rm", "-hv", "-f", "/no/such/device"}), kExitUsage);
  EXPECT_EQ(run(logplay_command(), {"/etc"}), EINVAL);
  EXPECT_EQ(run(umount_command(), {"/etc"}), EINVAL);
  EXPECT_EQ(run(mkdir_command(), {"/etc/famfs-test-directory"}), ENOTTY);
  EXPECT_EQ(run(getmap_command(), {"/etc/passwd"}), 1);
}

TEST(ExitCodes, AreNeverAbove127) {
  EXPECT_EQ(exit_code(ENOSPC), ENOSPC);
  EXPECT_EQ(exit_code(EHWPOISON), 127);
}

}  // namespace
}  // namespace famfs::cli
