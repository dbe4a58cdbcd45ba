// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cli/mount_client.h"

namespace famfs::cli {

struct WantedFile {
  std::string path;  // in a famfs mount
  std::uint64_t size = 0;
  Ownership ownership{};
};

enum class Made {
  kNew,
  kExisted,  // as a file of that size
  kFailed,   // said why
};

// Makes files in order; neighbours in one directory share an announcement in the log. A failure is
// printed as "PROGRAM: message" and does not stop the others. `code` is set to the exit code of the
// first failure.
std::vector<Made> make_files(const char* program, std::span<const WantedFile> files,
                             const Interleave& interleave, int& code);

}  // namespace famfs::cli
