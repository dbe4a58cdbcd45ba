// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace famfs::memory {

// Writes back and drops this host's cache lines of the file behind `fd`, if the kernel maps it
// straight to memory. Nothing is done where it does not let files of that mount be mapped shared
// (ENODEV), as one whose server moves the data. The descriptor is open for reading. Throws
// base::Error: EIO if memory of the file has failed, when the rest is done.
void drop_lines_of_file(int fd, const std::string& path);

// Bytes of a device.
struct Range {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  friend auto operator<=>(const Range&, const Range&) = default;
};

// The same for parts of a dax device, of which nobody on this machine has one in a file (EBUSY).
// What is not inside the device is left out; pages are dropped whole.
void drop_lines_of_device(const std::string& device, std::vector<Range> ranges);

}  // namespace famfs::memory
