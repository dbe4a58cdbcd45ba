// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/file_descriptor.h"

namespace famfs::cli {

// Starts famfsd (beside this program, else in PATH) with `arguments` and waits until its mount can
// be used. Returns what it says about the mount. Throws its error, or one of our own.
std::string start_daemon(const std::vector<std::string>& arguments);

// A process descriptor of the daemon that serves `mount_point`, found by its control socket, or
// empty when that cannot be reached.
base::FileDescriptor daemon_of(const std::string& mount_point);

// Waits until the process has ended.
void wait_for_end(const base::FileDescriptor& process);

// True when the mount point answers ENOTCONN: its daemon died without unmounting.
bool is_stale(const std::string& mount_point);

// Removes the mount at `mount_point`; `lazily` even when it is in use. Throws base::Error.
void unmount(const std::string& mount_point, bool lazily);

}  // namespace famfs::cli
