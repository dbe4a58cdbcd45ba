// SPDX-License-Identifier: Apache-2.0
//
// mount.famfs: what mount(8) runs for `mount -t famfs` and for a line of /etc/fstab.
#include <cerrno>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/daemon_options.h"

namespace famfs::cli {
namespace {

// As mount(8) wants them of its helpers.
constexpr int kExitMountUsage = 1;
constexpr int kExitMountFailed = 32;

struct Options {
  std::string device;
  std::string mount_point;
  std::vector<std::string> lists;
  std::string type;
  bool fake = false;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("DEV", options.device, "dax device (or a plain file)")->required();
  app.add_option("DIR", options.mount_point, "directory to mount at")->required();
  app.add_option("-o", options.lists, "mount options (repeat)")->allow_extra_args(false);
  app.add_option("-t", options.type, "the type, which is famfs");
  app.add_flag("-f", options.fake, "only check the options");
  cli::accept_ignored_flags(app, {"-n", "-v"});
  app.footer(mount_option_help() +
             "\n\nIn /etc/fstab:\n  /dev/dax0.0  /mnt/famfs  famfs  defaults,nofail  0  0\n\n"
             "Exit code: 0 mounted, 1 usage, 32 failure. The same with more options: famfs mount.");
}

int work(const Options& options) {
  for (const std::string& list : options.lists) {
    DaemonOptions parsed;
    apply_mount_options(list, parsed);
  }
  if (options.fake) return kExitOk;
  std::vector<std::string> arguments;
  for (const std::string& list : options.lists) arguments.insert(arguments.end(), {"-o", list});
  arguments.insert(arguments.end(), {"--", options.device, options.mount_point});
  return mount_command().run(arguments) == kExitOk ? kExitOk : kExitMountFailed;
}

}  // namespace

int run_mount_helper(const std::vector<std::string>& arguments) {
  CLI::App app{"Mounts a famfs: what mount(8) runs for the type famfs.", "mount.famfs"};
  app.set_help_flag(kHelpFlags, "print this help and exit");
  app.set_version_flag("-V,--version", "mount.famfs " FAMFS_VERSION);
  Options options;
  declare(app, options);
  bool worked = false;
  const int code = parse_and_run(app, arguments, [&] {
    const int result = work(options);
    worked = true;
    return result;
  });
  return code == kExitOk || worked ? code : kExitMountUsage;
}

}  // namespace famfs::cli
