// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "cli/mount_client.h"

namespace famfs::cli {

// Where a mount has its defaults for new files, relative to the mount point. An ordinary file of
// the file system, so that it is the same on all hosts.
inline constexpr const char* kAllocConfig = ".meta/.alloc.cfg";

// YAML text, a mapping
//   interleaved_alloc: {nbuckets: 4, nstrips: 3, chunk_size: 2m}
// of which each key may be missing. What follows the first NUL does not count, as a famfs file
// keeps its size. Throws base::Error(EINVAL) that names what is wrong; total over all texts.
Interleave parse_alloc_config(std::string_view text);

// The defaults of the mount at `mount_point`: files are not interleaved if it has no such file.
// Throws base::Error that names the file.
Interleave load_alloc_config(const std::string& mount_point);

}  // namespace famfs::cli
