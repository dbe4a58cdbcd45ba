// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace famfs::memory {

// Writes back and drops this host's cache lines of the file behind `fd`, if the kernel maps it
// straight to memory. Nothing is done where it does not let files of that mount be mapped shared
// (ENODEV), as one whose server moves the data. The descriptor is open for reading. Throws
// base::Error: EIO if memory of the file has failed, when the rest is done.
void drop_lines_of_file(int fd, const std::string& path);

}  // namespace famfs::memory
