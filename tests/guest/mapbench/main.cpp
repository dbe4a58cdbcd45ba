// SPDX-License-Identifier: Apache-2.0
//
// Measures one thing on one path: see usage().
#include <cstdio>
#include <exception>

#include "mapbench/measure.h"

namespace {

using mapbench::Options;
using mapbench::Result;

struct Operation {
  const char* name;
  Result (*measure)(const Options&);
};

constexpr Operation kOperations[] = {
    {"fill", mapbench::fill},
    {"load-sequential", mapbench::load_sequential},
    {"store-sequential", mapbench::store_sequential},
    {"load-random", mapbench::load_random},
    {"store-random", mapbench::store_random},
    {"fault-read", mapbench::fault_read},
    {"fault-write", mapbench::fault_write},
    {"read", mapbench::read_file},
    {"write", mapbench::write_file},
    {"creat", mapbench::create_files},
    {"stat", mapbench::stat_files},
    {"list", mapbench::list_directory},
    {"messages", mapbench::count_messages},
};

void print(const Result& result) {
  const char* separator = "{";
  for (const auto& [name, value] : result) {
    std::printf("%s\"%s\": %llu", separator, name.c_str(), static_cast<unsigned long long>(value));
    separator = ", ";
  }
  std::puts("}");
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = mapbench::parse(argc, argv);
  for (const Operation& operation : kOperations) {
    if (options.operation != operation.name) continue;
    try {
      print(operation.measure(options));
    } catch (const std::exception& error) {
      std::fprintf(stderr, "mapbench: %s\n", error.what());
      return 1;
    }
    return 0;
  }
  mapbench::usage();
}
