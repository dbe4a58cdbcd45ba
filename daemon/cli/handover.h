// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/file_descriptor.h"
#include "fuse/filesystem.h"
#include "tree/tree.h"

namespace famfs::cli {

// What a famfsd leaves to the program that takes its place in the same process, in a memory file of
// this version. Only programs of the same version take it.
inline constexpr std::uint32_t kHandoverVersion = 1;

struct Handover {
  int fuse_fd = -1;  // /dev/fuse of the mount
  int lock_fd = -1;  // flock(2) of the master; -1 on a client
  bool foreground = false;
  std::string directory;  // that the arguments were meant in
  std::string method;     // of mapping
  fuse::Agreed agreed;
  std::vector<std::pair<std::string, std::string>> loans;  // dax devices and their former drivers
  std::vector<tree::NodeState> nodes;                      // by id
};

// A sealed memory file, which execve(2) closes. Throws base::Error.
base::FileDescriptor write_handover(const Handover& handover);

// Throws base::Error with EPROTO for anything else than the file of write_handover().
Handover read_handover(int fd);

}  // namespace famfs::cli
