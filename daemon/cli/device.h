// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace famfs::cli {

// The device (or plain file) that `path` means: itself, or when `path` is in a famfs mount the
// source of that mount. Throws base::Error: EBUSY when `path` is a device that is mounted here (its
// mount point must be named then), EINVAL for a directory elsewhere.
std::string device_of(const std::string& path);

// Throws base::Error with EBUSY when `device` is mounted in this mount name space. `what` is done
// with it, for the message.
void require_unmounted(const std::string& device, const std::string& what);

}  // namespace famfs::cli
