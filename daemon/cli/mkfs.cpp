// SPDX-License-Identifier: Apache-2.0
//
// mkfs.famfs: makes an empty famfs, this host its master.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "base/size_units.h"
#include "base/system_uuid.h"
#include "cli/command.h"
#include "cli/device.h"
#include "cli/host_lines.h"
#include "cli/mounts.h"
#include "media/layout.h"
#include "memory/open.h"
#include "volume/check.h"
#include "volume/format.h"

namespace {

using namespace famfs;

constexpr int kExitRefused = 2;

struct Options {
  std::vector<std::string> devices;
  bool force = false;
  bool kill = false;
  bool set_daxmode = false;
  std::uint64_t log_length = media::kMinimumLogLength;
  std::uint64_t alloc_unit = media::kAllocationUnit;
  int verbose = 0;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("DEV", options.devices,
                 "dax device, or a plain file of at least 4 GiB; more of them hold files only")
      ->required();
  app.add_flag("-f,--force", options.force,
               "replace a famfs that is there, also another host's; hosts that have it mounted "
               "answer ESTALE from then on");
  app.add_flag("-k,--kill", options.kill, "only remove the famfs that is there (needs --force)");
  cli::add_size(app, "-l,--loglen", options.log_length,
                "bytes of log: a power of two, at least 8m (default 8m, 15420 entries)");
  cli::add_size(app, "-a,--alloc-unit", options.alloc_unit,
                "what file space is given out in: 2m (default), or 4k, which holds small files "
                "without waste");
  app.add_flag("-v,--verbose", options.verbose, "show all fields");
  app.add_flag("-M,--set-daxmode", options.set_daxmode, cli::kSetDaxmodeHelp);
  cli::accept_ignored_flags(app, {"-D,--nodax", "-F,--nofuse", "--fuse"});
  app.footer(
      "Exit code: 0 done, 1 usage or cannot write the device, 2 refused because something is "
      "there.");
}

// Devices by their canonical names. Throws for one that is given twice.
std::vector<std::string> canonical_devices(const Options& options) {
  std::vector<std::string> devices;
  for (const std::string& given : options.devices) {
    devices.push_back(cli::canonical(given));
    if (std::count(devices.begin(), devices.end(), devices.back()) > 1) {
      throw base::Error(EINVAL, "{} is given twice", devices.back());
    }
  }
  return devices;
}

// A device that is not mounted by a master here, for as long as this lives.
struct Device {
  cli::Loan loan;
  base::FileDescriptor lock;
  std::unique_ptr<memory::SharedMemory> memory;
};

std::vector<Device> open_devices(const std::vector<std::string>& paths, bool set_daxmode) {
  std::vector<Device> devices;
  for (const std::string& path : paths) {
    Device device;
    // Before the lock, which is on the device's node: that goes away with the driver.
    if (set_daxmode) device.loan = cli::lend_for_tools(path);
    device.lock = cli::lock_against_master(path);
    device.memory = memory::open_memory(path, memory::Access::kReadWrite);
    devices.push_back(std::move(device));
  }
  return devices;
}

int make(const Options& options) {
  const std::vector<std::string> paths = canonical_devices(options);
  std::vector<Device> devices = open_devices(paths, options.set_daxmode);
  if (options.kill) {
    for (const Device& device : devices) {
      const bool was_there = volume::kill(*device.memory, options.force);
      fmt::print("{}: {}\n", device.memory->name(),
                 was_there ? "famfs removed" : "there was no famfs");
    }
    return cli::kExitOk;
  }
  const base::Uuid system_uuid = base::load_or_create_system_uuid();
  memory::SharedMemory& first = *devices.front().memory;
  volume::FormatOptions format{.log_len = options.log_length,
                               .alloc_unit = options.alloc_unit,
                               .force = options.force,
                               .system_uuid = system_uuid};
  for (const Device& device : devices) {
    const memory::SharedMemory& memory = *device.memory;
    fmt::print("devsize: {} ({})\n", memory.size(), base::human_size(memory.size()));
    if (device.memory.get() != &first) format.devices.push_back(device.memory.get());
  }
  cli::note_log(first, options.log_length);
  volume::format(first, format);
  // The check opens them itself, and a device on fsdev_dax can be opened once.
  for (size_t i = 1; i < devices.size(); ++i) devices[i].memory.reset();
  const volume::DeviceSource others{
      .candidates = [&] { return std::vector(paths.begin() + 1, paths.end()); },
      .open =
          [](const std::string& path) {
            return memory::open_memory(path, memory::Access::kReadOnly);
          }};
  const volume::CheckReport report =
      volume::check(first, {.system_uuid = system_uuid, .devices = others});
  fmt::print("{}", volume::format_report(report, {options.verbose > 0, false}));
  if (!report.clean()) {
    throw base::Error(EIO, "{} is not clean right after it was made", first.name());
  }
  return cli::kExitOk;
}

int run(const Options& options) {
  try {
    return make(options);
  } catch (const base::Error& error) {
    if (error.code() != EEXIST && error.code() != EBUSY) {
      throw cli::UsageError(error.message());
    }
    fmt::print(stderr, "mkfs.famfs: {}\n", error.what());
    return kExitRefused;
  }
}

int run_program(std::vector<std::string> arguments) {
  CLI::App app{"Makes an empty famfs on shared memory; this host becomes its master.",
               "mkfs.famfs"};
  app.set_help_flag(cli::kHelpFlags, "print this help and exit");
  app.set_version_flag("-V,--version", "mkfs.famfs " FAMFS_VERSION);
  Options options;
  declare(app, options);
  return cli::parse_and_run(app, std::move(arguments), [&] { return run(options); });
}

}  // namespace

int main(int argc, char** argv) {
  return cli::run_guarded("mkfs.famfs", [&] { return run_program({argv + 1, argv + argc}); });
}
