// SPDX-License-Identifier: Apache-2.0
#include "mapbench/options.h"

#include <getopt.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace mapbench {
namespace {

std::uint64_t number(const char* text) {
  char* end = nullptr;
  errno = 0;
  const std::uint64_t value = std::strtoull(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0') usage();
  return value;
}

}  // namespace

void usage() {
  std::fputs(
      "usage: mapbench OPERATION PATH [--offset BYTES] [--length BYTES] [--step BYTES]\n"
      "                               [--count N] [--log FILE]\n"
      "\n"
      "Measures one thing on one file, directory or dax device and prints it as JSON.\n"
      "  fill                                writes all once: memory may be new to the machine\n"
      "  load-sequential, store-sequential   8 bytes after the other of a mapping that is there\n"
      "  load-random, store-random           8 bytes at --count random places of it\n"
      "  fault-read, fault-write             the first touch of each --step (4096 or 2097152)\n"
      "  read, write                         system calls of --step bytes, one after the other\n"
      "  creat                               --count files in a directory\n"
      "  stat                                --count calls on the files of a directory in turn\n"
      "  list                                all names of a directory, --count times\n"
      "  messages                            lines that --log gains by two opens and by faults\n"
      "\n"
      "nanoseconds is the time of the lap in the middle, for all laps; elapsed is what went by.\n"
      "\n"
      "Exit status: 0 measured, 1 something failed, 2 usage.\n",
      stderr);
  std::exit(2);
}

Options parse(int argc, char** argv) {
  enum : int { kOffset = 'o', kLength = 'l', kStep = 's', kCount = 'c', kLog = 'g' };
  const option known[] = {{"offset", required_argument, nullptr, kOffset},
                          {"length", required_argument, nullptr, kLength},
                          {"step", required_argument, nullptr, kStep},
                          {"count", required_argument, nullptr, kCount},
                          {"log", required_argument, nullptr, kLog},
                          {nullptr, 0, nullptr, 0}};
  Options options;
  for (int found = 0; (found = getopt_long(argc, argv, "", known, nullptr)) != -1;) {
    switch (found) {
      case kOffset:
        options.offset = number(optarg);
        break;
      case kLength:
        options.length = number(optarg);
        break;
      case kStep:
        options.step = number(optarg);
        break;
      case kCount:
        options.count = number(optarg);
        break;
      case kLog:
        options.log = optarg;
        break;
      default:
        usage();
    }
  }
  if (argc - optind != 2 || options.length == 0 || options.step == 0) usage();
  options.operation = argv[optind];
  options.path = argv[optind + 1];
  return options;
}

}  // namespace mapbench
