// SPDX-License-Identifier: Apache-2.0
#include "cli/device.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "cli/device_scan.h"
#include "cli/host_lines.h"
#include "cli/mount_client.h"
#include "cli/mounts.h"
#include "kmap/private_mount.h"
#include "mapping/daemon_served.h"
#include "memory/dax_device.h"

namespace famfs::cli {
namespace {

bool is_character_device(const std::string& path) {
  struct stat attributes = {};
  if (stat(path.c_str(), &attributes) != 0) throw base::system_error("cannot open " + path);
  return S_ISCHR(attributes.st_mode);
}

// Nothing, for who may not ask the kernel.
kmap::Offer kernels_offer() { return kmap::probe_kernel().value_or(kmap::Offer{}); }

Loan lend(const std::string& device, const char* driver) {
  if (memory::describe_dax_device(device).driver == driver) return nullptr;
  // The kernel kills who has the device mapped, so nobody may.
  require_unmounted(device, "given to another driver");
  // Let go at once: the kernel miscounts a device that is open while its driver changes.
  lock_against_master(device);
  return std::make_unique<memory::DaxDriverLoan>(
      device, driver, [](const std::string& trouble) { spdlog::error("{}", trouble); });
}

}  // namespace

std::string device_of(const std::string& path) {
  if (const auto mount = mount_of_path(path)) return mount->source;
  struct stat attributes = {};
  if (stat(path.c_str(), &attributes) != 0) throw base::system_error("cannot open " + path);
  if (S_ISDIR(attributes.st_mode)) {
    throw base::Error(EINVAL,
                      "{} is a directory outside of every famfs mount; give a device, a "
                      "plain file, or a path in a famfs mount",
                      path);
  }
  require_unmounted(path, "read");
  return canonical(path);
}

void require_unmounted(const std::string& device, const std::string& what) {
  if (const auto mount = mount_of_source(device)) {
    throw base::Error(EBUSY,
                      "{} is mounted at {} and cannot be {} by its device; unmount it, or "
                      "give the mount point",
                      device, mount->target, what);
  }
}

Loan lend_for_tools(const std::string& device) {
  if (!is_character_device(device)) return nullptr;
  const std::string driver = memory::describe_dax_device(device).driver;
  if (driver == memory::kFileSystemDriver && kmap::best(kernels_offer())) return nullptr;
  return lend(device, memory::kDeviceDriver);
}

Loan lend_for_mount(const std::string& device, std::string_view method) {
  if (!is_character_device(device)) return nullptr;
  if (method == mapping::DaemonServed::kName) return lend(device, memory::kDeviceDriver);
  const kmap::Offer offer = kernels_offer();
  // A forced method that the kernel does not have is refused later, in words about that method.
  const bool mapped =
      (method.empty() ? kmap::best_for_mount(offer) : kmap::best(offer)).has_value();
  return lend(device, mapped ? memory::kFileSystemDriver : memory::kDeviceDriver);
}

OpenDevice open_to_read(const std::string& path, bool set_daxmode,
                        const std::vector<std::string>& daxdevs) {
  const std::string device = device_of(path);
  volume::DeviceSource others =
      device_source(device, daxdevs, memory::Access::kReadOnly, memory::Backend::kAutomatic);
  if (const auto mount = mount_of_path(path)) {
    try {
      const auto directory = std::make_shared<MountedDirectory>(mount->target);
      std::map<std::string, std::uint32_t> known;
      for (const auto& [index, name] : directory->devices()) known[name] = index;
      // What the mount has, where it has it; what it misses may be found here.
      others.open = [directory, known](const std::string& name) {
        const auto found = known.find(name);
        auto shared = found == known.end() ? nullptr : directory->window(found->second);
        return shared ? std::move(shared) : memory::open_memory(name, memory::Access::kReadOnly);
      };
      others.candidates = [known, scan = others.candidates] {
        std::vector<std::string> paths = scan();
        for (const auto& [name, index] : known) {
          if (std::find(paths.begin(), paths.end(), name) == paths.end()) paths.push_back(name);
        }
        return paths;
      };
      if (auto shared = directory->window(0)) {
        return {nullptr, {}, std::move(shared), std::move(others)};
      }
    } catch (const base::Error& error) {
      // A mount that does not answer, as its daemon is dead or its file system was replaced.
      spdlog::debug("{}", error.what());
    }
    auto memory = memory::open_memory(device, memory::Access::kReadOnly);
    note_log(*memory);
    return {nullptr, {}, std::move(memory), std::move(others)};
  }
  Loan loan = set_daxmode ? lend_for_tools(device) : nullptr;
  auto memory = memory::open_memory(device, memory::Access::kReadOnly);
  note_log(*memory);
  return {std::move(loan), {}, std::move(memory), std::move(others)};
}

OpenDevice open_to_repair(const std::string& path, bool set_daxmode,
                          const std::vector<std::string>& daxdevs) {
  if (const auto mount = mount_of_path(path)) {
    throw base::Error(EBUSY, "{} is mounted at {} and cannot be repaired; unmount it first",
                      mount->source, mount->target);
  }
  const std::string device = device_of(path);
  // Before the lock, which is on the device's node: that goes away with the driver.
  Loan loan = set_daxmode ? lend_for_tools(device) : nullptr;
  base::FileDescriptor lock = lock_against_master(device);
  auto memory = memory::open_memory(device, memory::Access::kReadWrite);
  note_log(*memory);
  // Only the first device has what can be repaired.
  return {std::move(loan), std::move(lock), std::move(memory),
          device_source(device, daxdevs, memory::Access::kReadOnly, memory::Backend::kAutomatic)};
}

base::FileDescriptor try_master_lock(const std::string& device) {
  base::FileDescriptor fd = base::open_file(device, O_RDONLY);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) fd.reset();
  return fd;
}

base::FileDescriptor lock_against_master(const std::string& device) {
  base::FileDescriptor fd = try_master_lock(device);
  if (!fd) {
    const auto mount = mount_of_source(device);
    throw base::Error(EBUSY, "{} is mounted by its master on this machine{}; unmount it first",
                      device, mount ? " at " + mount->target : "");
  }
  return fd;
}

}  // namespace famfs::cli
