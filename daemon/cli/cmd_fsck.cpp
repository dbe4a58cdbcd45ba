// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <string>

#include "alloc/space.h"
#include "base/error.h"
#include "base/system_uuid.h"
#include "cli/commands.h"
#include "cli/device.h"
#include "volume/check.h"

namespace famfs::cli {
namespace {

constexpr int kExitDamage = 4;
// Much longer than an append takes, and nobody waits for it on a sound file system.
constexpr std::chrono::milliseconds kSettle{100};

struct Options {
  std::string path;
  bool human = false;
  int verbose = 0;
  std::uint32_t buckets = 0;
  bool set_daxmode = false;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("PATH", options.path,
                 "an unmounted device or plain file, a mount point, or a path in a mount")
      ->required();
  app.add_flag("-h,--human", options.human, "sizes also as 4.0G");
  app.add_flag("-v,--verbose", options.verbose, "superblock and log fields too");
  add_number(app, "-B,--nbuckets", options.buckets, alloc::kMaxBuckets,
             "show how full each of N equal parts of the device is (1..64)");
  app.add_flag("-M,--set-daxmode", options.set_daxmode, kSetDaxmodeHelp);
  accept_ignored_flags(app, {"-m,--mmap", "-r,--read", "-D,--nodax", "-f", "--fuse", "-F,--nofuse",
                             "-L,--load-module"});
  app.footer("Reads only. Exit code: 0 clean, 1 usage or cannot open, 4 damage found.");
}

// Without an identity this host is a client, and a file system can be checked all the same.
std::optional<base::Uuid> identity() {
  try {
    return base::load_system_uuid();
  } catch (const base::Error& error) {
    fmt::print(stderr, "famfs fsck: warning: this host counts as a client: {}\n", error.message());
    return std::nullopt;
  }
}

int work(const Options& options) try {
  const ReadableDevice device = open_to_read(options.path, options.set_daxmode);
  const volume::CheckReport report =
      volume::check(*device.memory, {identity(), options.buckets, kSettle});
  fmt::print("{}", volume::format_report(report, {options.verbose > 0, options.human}));
  return report.clean() ? kExitOk : kExitDamage;
} catch (const base::Error& error) {
  // Not the errno: 4 (EINTR) must mean damage only.
  throw UsageError(error.message());
}

}  // namespace

Command fsck_command() {
  return make_command<Options>("fsck", "check a famfs", declare, work, "-?,--help");
}

}  // namespace famfs::cli
