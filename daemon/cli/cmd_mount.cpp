// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/daemon_options.h"
#include "cli/daemon_process.h"
#include "cli/device.h"
#include "cli/mounts.h"

namespace famfs::cli {
namespace {

constexpr std::uint32_t kMaxTimeout = 10U * 365 * 24 * 3600;

struct Options {
  std::string device;
  std::string mount_point;
  std::vector<std::string> lists;
  std::uint32_t timeout = 0;
  bool no_user_access = false;
  bool no_default_permissions = false;
  bool debug = false;
  bool standalone = false;
  bool dummy = false;
  bool remount = false;
  bool set_daxmode = false;
  bool read = false;
  bool mmap = false;
  int verbose = 0;
  std::string shadow;
  std::string cache;
  const CLI::Option* timeout_option = nullptr;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("DEV", options.device, "dax device (or a plain file)")->required();
  app.add_option("MPT", options.mount_point, "directory to mount at");
  app.add_option("-o", options.lists, "mount options, see below (repeat)")->allow_extra_args(false);
  options.timeout_option =
      add_number(app, "-t,--timeout", options.timeout, kMaxTimeout,
                 "seconds that the kernel keeps names and attributes (default one year)");
  app.add_flag("-u,--nouseraccess", options.no_user_access,
               "only the user who mounts may use it (no allow_other)");
  app.add_flag("-p,--nodefaultperm", options.no_default_permissions,
               "nobody checks modes and owners (no default_permissions)");
  app.add_option("-S,--shadow", options.shadow,
                 "directory for the daemon's log and control socket, instead of one of its own");
  app.add_flag("-d,--debug", options.debug, "the daemon logs every FUSE message; one thread");
  app.add_flag("-v,--verbose", options.verbose, "say more");
  app.add_flag("-M,--set-daxmode", options.set_daxmode, kSetDaxmodeHelp);
  app.add_flag("-F,--nofuse", options.standalone, "not available: famfs here is a FUSE daemon");
  app.add_flag("-D,--dummy", options.dummy, "not needed: the daemon reads the device itself");
  app.add_flag("-R,--remount", options.remount)->group("");
  app.add_flag("-r,--read", options.read)->group("");
  app.add_flag("-m,--mmap", options.mmap)->group("");
  app.add_option("-c,--cache", options.cache)->group("");
  accept_ignored_flags(app, {"-f,--fuse", "-b", "-L,--load-module"});
  app.footer(mount_option_help());
}

[[noreturn]] void not_available(const std::string& option, const std::string& reason) {
  throw base::Error(EOPNOTSUPP, "{} is not available: {}", option, reason);
}

void check(const Options& options) {
  if (options.read && options.mmap) {
    throw UsageError("--read and --mmap exclude each other; give at most one (neither is needed)");
  }
  if (!options.cache.empty() && options.cache != "always" && options.cache != "normal" &&
      options.cache != "never") {
    throw UsageError("--cache " + options.cache + ": allowed are always, normal, never");
  }
  if (options.standalone) not_available("--nofuse", "there is no kernel module, mount without it");
  if (options.dummy) not_available("--dummy", "nothing here needs it, mount normally");
  if (options.remount) not_available("--remount", "unmount and mount again");
  if (options.mount_point.empty()) throw UsageError("MPT is missing: the directory to mount at");
}

// A mount point whose daemon was killed answers nothing until it is removed.
void clean_stale(const std::string& mount_point) {
  while (is_stale(mount_point)) {
    fmt::print(stderr, "famfs mount: the daemon of {} had died; its mount is removed first\n",
               mount_point);
    unmount(mount_point, true);
  }
}

void check_mount_point(const std::string& mount_point) {
  struct stat attributes = {};
  if (stat(mount_point.c_str(), &attributes) != 0) {
    throw base::system_error("mount point " + mount_point);
  }
  if (!S_ISDIR(attributes.st_mode)) {
    throw base::Error(ENOTDIR, "mount point {} is not a directory", mount_point);
  }
  if (const auto mounted = mount_at(mount_point)) {
    throw base::Error(EBUSY, "{} is already mounted at {}; unmount it with `famfs umount {}`",
                      mounted->source, mount_point, mount_point);
  }
}

int work(const Options& options) {
  check(options);
  // Options are checked here too, so that mistakes are told before anything happens.
  DaemonOptions parsed;
  for (const std::string& list : options.lists) apply_mount_options(list, parsed);

  const std::string mount_point = canonical(options.mount_point);
  clean_stale(mount_point);
  check_mount_point(mount_point);

  std::vector<std::string> arguments;
  for (const std::string& list : options.lists) arguments.insert(arguments.end(), {"-o", list});
  const auto add = [&](const std::string& option) {
    arguments.insert(arguments.end(), {"-o", option});
  };
  if (options.timeout_option->count() != 0) add(fmt::format("timeout={}", options.timeout));
  if (options.set_daxmode) add("set_daxmode");
  if (options.no_default_permissions) add("no_default_permissions");
  if (!options.shadow.empty()) arguments.insert(arguments.end(), {"--run-dir", options.shadow});
  if (options.debug) arguments.emplace_back("-d");
  if (options.no_user_access) {
    add("no_allow_other");
  } else if (geteuid() != 0 && parsed.allow_other) {
    // fusermount3 allows it only with user_allow_other in /etc/fuse.conf.
    add("no_allow_other");
    fmt::print(stderr, "famfs mount: not root, so only you can use this mount (no allow_other)\n");
  }
  arguments.insert(arguments.end(), {"--", options.device, mount_point});
  fmt::print("{}", start_daemon(arguments));
  return kExitOk;
}

}  // namespace

Command mount_command() { return make_command<Options>("mount", "mount a famfs", declare, work); }

}  // namespace famfs::cli
