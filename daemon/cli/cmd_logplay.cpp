// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/device.h"
#include "cli/mount_client.h"
#include "cli/mounts.h"
#include "cli/shadow_tree.h"
#include "media/finding.h"
#include "media/path.h"
#include "volume/check.h"

namespace famfs::cli {
namespace {

struct Options {
  std::vector<std::string> paths;
  bool dry_run = false;
  bool shadow_test = false;
  bool set_daxmode = false;
  int verbose = 0;
  std::string shadow;
  std::string device;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("PATH", options.paths, "a mount point or a path in a famfs mount, or a device");
  app.add_flag("-n,--dryrun", options.dry_run, "read and check the whole log, change nothing");
  app.add_flag("-v,--verbose", options.verbose, "name each entry (with --dryrun)");
  app.add_option("--shadow", options.shadow,
                 "write the log as a tree of YAML files into this directory (in its subdirectory "
                 "root, if there is one)");
  app.add_flag("-s,--shadowtest", options.shadow_test,
               "with --shadow: what exists there must say the same");
  app.add_option("-d,--daxdev", options.device,
                 "read this unmounted device (with --dryrun or --shadow)");
  app.add_flag("-M,--set-daxmode", options.set_daxmode, kSetDaxmodeHelp);
  accept_ignored_flags(app, {"-m,--mmap", "-r,--read", "-c,--client", "-S"});
  app.footer(
      "A mounted famfs takes new log entries by itself when a name is looked up; this does "
      "it now and says how many there were.\nExit code: 0 all played, 117 (EUCLEAN) stopped "
      "at a damaged entry, else the errno.");
}

void print_entry(const media::LogEntry& entry) {
  if (const auto* file = std::get_if<media::FileEntry>(&entry.body)) {
    fmt::print("{}: file {} size {} mode {:04o} owner {}:{} extents {}{}\n", entry.index,
               media::printable(file->path), file->size, file->mode, file->uid, file->gid,
               file->map.extents.size(),
               file->map.interleaved() ? fmt::format(" chunk {}", file->map.chunk_size) : "");
  } else if (const auto* directory = std::get_if<media::DirectoryEntry>(&entry.body)) {
    fmt::print("{}: directory {} mode {:04o} owner {}:{}\n", entry.index,
               media::printable(directory->path), directory->mode, directory->uid, directory->gid);
  } else if (const auto* device = std::get_if<media::DaxDeviceEntry>(&entry.body)) {
    fmt::print("{}: device {} uuid {} size {}\n", entry.index, device->index,
               device->uuid.to_string(), device->size);
  }
}

// Reads the whole log without the daemon; `shadow` takes its entries, when there is one.
int play_device(const Options& options, const std::string& path, ShadowTree* shadow) {
  const OpenDevice device = open_to_read(path, options.set_daxmode, {});
  const volume::ReplayReport report =
      volume::replay(*device.memory, [&](const media::LogEntry& entry) {
        if (options.verbose > 0) print_entry(entry);
        if (shadow != nullptr) shadow->play(entry, options.shadow_test);
      });
  for (const media::Finding& notice : report.notices) {
    fmt::print(stderr, "famfs logplay: skipped: {}\n", media::to_string(notice));
  }
  fmt::print("{} log entries: {} files, {} directories, {} skipped\n", report.entries, report.files,
             report.directories, report.notices.size());
  if (shadow != nullptr) fmt::print("{} shadow files and directories made\n", shadow->made());
  if (!report.stopped) return kExitOk;
  throw base::Error(EUCLEAN, "{} log entries played, then stopped: {}", report.entries,
                    media::to_string(*report.stopped));
}

int work(const Options& options) {
  if (options.paths.empty() && options.device.empty()) {
    throw UsageError("PATH is missing: a mount point, or a device with --dryrun");
  }
  const std::string path = options.paths.empty() ? options.device : options.paths.front();
  if (options.dry_run) return play_device(options, path, nullptr);
  if (!options.shadow.empty()) {
    ShadowTree shadow(options.shadow);
    return play_device(options, options.device.empty() ? path : options.device, &shadow);
  }
  const auto mount = mount_of_path(path);
  if (!mount) {
    throw base::Error(EINVAL,
                      "{} is not in a famfs mount; to read the log of a device, use "
                      "--dryrun",
                      path);
  }
  const fuse::ioctl::Refresh result = MountedDirectory(mount->target).refresh();
  fmt::print("{} new log entries; {} in all, {} of them skipped\n", result.played, result.entries,
             result.skipped);
  return kExitOk;
}

}  // namespace

Command logplay_command() {
  return make_command<Options>("logplay", "take the log's new entries now, or check the log",
                               declare, work);
}

}  // namespace famfs::cli
