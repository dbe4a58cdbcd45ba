// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace famfs::kmap {

// Facts that tell kernels apart whose FUSE_INIT looks alike. Bit 43 means "file maps" on kernels
// with the series as it was posted (its tenth version made the protocol 7.46), and "io-uring buffer
// pools" from Linux 7.3 on, whose protocol is 7.46 too.
struct Generation {
  unsigned release_major = 0;  // of uname(2)
  unsigned release_minor = 0;
  bool has_famfs_symbol = false;  // a function that only the posted series has

  // Of the running kernel.
  static Generation of_this_kernel();
};

// "7.3.4-famlab" is 7 and 3; what cannot be parsed is the newest there can be.
Generation parse_release(std::string_view release) noexcept;

// Why bit 43 of this kernel is not that of the posted series; empty if it is. All signs have to
// agree: taking the wrong meaning would make every open fail.
std::string why_not_v10(const Generation& generation, unsigned major, unsigned minor);

}  // namespace famfs::kmap
