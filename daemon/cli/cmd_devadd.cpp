// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/system_uuid.h"
#include "cli/commands.h"
#include "cli/device.h"
#include "cli/device_scan.h"
#include "cli/mount_client.h"
#include "cli/mounts.h"
#include "memory/open.h"
#include "volume/volume.h"

namespace famfs::cli {
namespace {

struct Options {
  std::string target;
  std::string device;
  bool force = false;
  std::vector<std::string> daxdevs;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("TARGET", options.target,
                 "a mount point or a path in a famfs mount, or the first device of an unmounted "
                 "file system")
      ->required();
  app.add_option("DEV", options.device, "dax device (or plain file) to add")->required();
  app.add_flag("-f,--force", options.force, "replace a famfs that is on DEV");
  app.add_option("--daxdev", options.daxdevs, kDaxdevHelp)->allow_extra_args(false);
  app.footer("Only the host that made the file system can add to it. A device cannot be removed.");
}

std::uint32_t add_unmounted(const Options& options, const std::string& device) {
  const std::string first = device_of(options.target);
  const base::FileDescriptor lock = lock_against_master(first);
  const auto volume = volume::Volume::open(
      memory::open_memory(first, memory::Access::kReadWrite),
      {.system_uuid = base::load_system_uuid(),
       .devices = device_source(first, options.daxdevs, memory::Access::kReadWrite,
                                memory::Backend::kAutomatic)});
  return static_cast<std::uint32_t>(
      volume->add_device(memory::open_memory(device, memory::Access::kReadWrite), options.force));
}

int work(const Options& options) {
  const std::string device = canonical(options.device);
  require_unmounted(device, "added");
  const auto mount = mount_of_path(options.target);
  const std::uint32_t index =
      mount ? MountedDirectory(mount->target).add_device(device, options.force)
            : add_unmounted(options, device);
  fmt::print("{} is device {} of the file system\n", device, index);
  return kExitOk;
}

}  // namespace

Command devadd_command() {
  return make_command<Options>("devadd", "add a device to a famfs (master only)", declare, work);
}

}  // namespace famfs::cli
