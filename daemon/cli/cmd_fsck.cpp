// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "alloc/space.h"
#include "base/error.h"
#include "base/system_uuid.h"
#include "cli/commands.h"
#include "cli/device.h"
#include "cli/device_scan.h"
#include "volume/check.h"
#include "volume/follower.h"
#include "volume/repair.h"

namespace famfs::cli {
namespace {

constexpr int kExitDamage = 4;
// Much longer than an append takes, and nobody waits for it on a sound file system.
constexpr std::chrono::milliseconds kSettle{100};
constexpr const char* kShow = "show";
constexpr const char* kApply = "apply";

struct Options {
  std::string path;
  bool human = false;
  bool json = false;
  int verbose = 0;
  std::uint32_t buckets = 0;
  bool set_daxmode = false;
  std::string repair;
  std::string save;
  std::vector<std::string> daxdevs;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("PATH", options.path,
                 "an unmounted device or plain file, a mount point, or a path in a mount")
      ->required();
  app.add_flag("-h,--human", options.human, "sizes also as 4.0G");
  app.add_flag("-v,--verbose", options.verbose, "superblock and log fields too");
  app.add_flag("--json", options.json, "one JSON object instead of text");
  add_number(app, "-B,--nbuckets", options.buckets, alloc::kMaxBuckets,
             "show how full each of N equal parts of the device is (1..64)");
  app.add_flag(
         "--repair{show}", options.repair,
         "say what would be mended: header counters that disagree with the entries, an "
         "append that ended early; --repair=apply does it (device not mounted, on its master)")
      ->check(CLI::IsMember({kShow, kApply}));
  app.add_option("--save", options.save,
                 "with --repair=apply: the file that keeps what is changed (default: "
                 "famfs-repair-UUID-TIME.json here)");
  app.add_flag("-M,--set-daxmode", options.set_daxmode, kSetDaxmodeHelp);
  app.add_option("--daxdev", options.daxdevs, kDaxdevHelp)->allow_extra_args(false);
  accept_ignored_flags(app, {"-m,--mmap", "-r,--read", "-D,--nodax", "-f", "--fuse", "-F,--nofuse",
                             "-L,--load-module"});
  app.footer(
      "Reads only, but for --repair=apply. Exit code: 0 clean (now), 1 usage or cannot open, 4 "
      "damage found (and left).");
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

// Writes the saved copy; it is on disk when this returns.
std::string save(const Options& options, const volume::RepairPlan& plan,
                 const std::string& device) {
  const std::string path =
      !options.save.empty()
          ? options.save
          : fmt::format("famfs-repair-{}-{:%Y%m%dT%H%M%SZ}.json", plan.fs_uuid.to_string(),
                        fmt::gmtime(std::time(nullptr)));
  const auto file = base::open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  const std::string copy = volume::format_saved_copy(plan, device);
  if (::write(file.get(), copy.data(), copy.size()) != static_cast<ssize_t>(copy.size()) ||
      ::fsync(file.get()) != 0) {
    throw base::system_error("cannot write " + path);
  }
  return path;
}

// Mends what can be, if asked to, and says what was or would be done.
volume::RepairReport repair(const Options& options, memory::SharedMemory& memory,
                            const std::optional<base::Uuid>& host) {
  volume::RepairReport report{.plan = volume::plan_repair(memory)};
  if (options.repair != kApply || !report.plan.wanted) return report;
  const base::Uuid master = volume::load_superblock(memory).system_uuid;
  if (master != host) {
    throw base::Error(EPERM, "only the master repairs: this host is a client, the master is {}",
                      master.to_string());
  }
  // Where this host's identity is on another one too, its append shows in the counters by then.
  std::this_thread::sleep_for(kSettle);
  report.saved_copy = save(options, report.plan, memory.name());
  volume::apply_repair(memory, report.plan);
  report.applied = true;
  return report;
}

int work(const Options& options) try {
  if (options.repair.empty() && !options.save.empty()) throw UsageError("--save needs --repair");
  const OpenDevice device = options.repair == kApply
                                ? open_to_repair(options.path, options.set_daxmode, options.daxdevs)
                                : open_to_read(options.path, options.set_daxmode, options.daxdevs);
  const std::optional<base::Uuid> host = identity();
  std::optional<volume::RepairReport> repaired;
  if (!options.repair.empty()) repaired = repair(options, *device.memory, host);
  const volume::CheckReport report =
      volume::check(*device.memory, {host, options.buckets, kSettle, device.others});
  if (options.json) {
    fmt::print("{}", volume::format_json(report, repaired ? &*repaired : nullptr));
  } else {
    fmt::print("{}", volume::format_report(report, {options.verbose > 0, options.human}));
    if (repaired) fmt::print("{}", volume::format_repair(*repaired));
  }
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
