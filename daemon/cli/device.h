// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_descriptor.h"
#include "memory/dax_driver.h"
#include "memory/open.h"
#include "volume/devices.h"

namespace famfs::cli {

// The device (or plain file) that `path` means: itself, or when `path` is in a famfs mount the
// source of that mount. Throws base::Error: EBUSY when `path` is a device that is mounted here (its
// mount point must be named then), EINVAL for a directory elsewhere.
std::string device_of(const std::string& path);

// Throws base::Error with EBUSY when `device` is mounted in this mount name space. `what` is done
// with it, for the message.
void require_unmounted(const std::string& device, const std::string& what);

// What --set-daxmode does: gives a dax device that is not mounted to the driver it is best used
// with, until the loan ends. Null for a plain file, and where it has that driver already. Throws
// base::Error: EBUSY for a mounted device.
using Loan = std::unique_ptr<memory::DaxDriverLoan>;
// For access without a mount: the driver it has, unless this kernel has no use for that.
Loan lend_for_tools(const std::string& device);
// For a mount by `method` (empty: the best).
Loan lend_for_mount(const std::string& device, std::string_view method);

// A device that a tool works on without a mount.
struct OpenDevice {
  Loan loan;
  base::FileDescriptor lock;                     // empty for reading
  std::unique_ptr<memory::SharedMemory> memory;  // given up before the loan ends
  volume::DeviceSource others{};                 // as the mount has them, else as `daxdevs` says
};
// Superblock and log of what `path` means, as device_of(), for reading: over the daemon's own
// window where the device of a mount cannot be mapped a second time.
OpenDevice open_to_read(const std::string& path, bool set_daxmode,
                        const std::vector<std::string>& daxdevs);
// For writing, which wants a device that is not mounted; no master can mount it here meanwhile.
// Throws base::Error: EBUSY if it is mounted.
OpenDevice open_to_repair(const std::string& path, bool set_daxmode,
                          const std::vector<std::string>& daxdevs);

// Keeps the master of this machine from mounting `device`, and other programs from changing it: its
// daemon holds this lock while it has it mounted (cli/serve.cpp). Throws base::Error: EBUSY if
// somebody has it.
base::FileDescriptor lock_against_master(const std::string& device);

// That lock, or an empty descriptor if somebody has it.
base::FileDescriptor try_master_lock(const std::string& device);

// For --help of who has the option.
inline constexpr const char* kSetDaxmodeHelp =
    "give the dax device to the driver that this needs (device_dax or fsdev_dax); it gets its "
    "former one back at the end";

}  // namespace famfs::cli
