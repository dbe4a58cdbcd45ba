// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace mapbench {

struct Options {
  std::string operation;
  std::string path;
  std::uint64_t offset = 0;  // of the first byte that is used
  std::uint64_t length = 64ULL << 20;
  std::uint64_t step = 4096;      // bytes of a fault, or of a system call
  std::uint64_t count = 1 << 20;  // random accesses, or system calls
  std::string log;                // of messages, a line each
};

// Ends the process on wrong use.
Options parse(int argc, char** argv);

[[noreturn]] void usage();

}  // namespace mapbench
