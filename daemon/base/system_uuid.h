// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "base/uuid.h"

namespace famfs::base {

// $FAMFS_SYSTEM_UUID_FILE if set and not empty, else /opt/famfs/system_uuid.
std::string system_uuid_path();

// Identity of this host: 36 characters, optionally followed by NUL or newline; nullopt if the file
// is missing. Throws Error: EINVAL for other content, else the errno.
std::optional<Uuid> load_system_uuid(const std::string& path = system_uuid_path());

// The same, but created if the file is missing, with a random uuid (36 characters and a NUL, mode
// 0444, in directories of mode 0755); two processes that create it at once agree on one content.
Uuid load_or_create_system_uuid(const std::string& path = system_uuid_path());

}  // namespace famfs::base
