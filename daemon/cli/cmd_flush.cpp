// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>

#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "cli/commands.h"
#include "cli/file_io.h"
#include "cli/parallel.h"

namespace famfs::cli {
namespace {

struct Options {
  std::vector<std::string> files;
  bool verbose = false;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("FILE", options.files, "files of a famfs mount")->required();
  app.add_flag("-v,--verbose", options.verbose, "name each file");
}

int work(const Options& options) {
  return for_each_reported("famfs flush", options.files.size(), 1, [&](std::size_t index) {
    const std::string& path = options.files[index];
    const base::FileDescriptor fd = base::open_file(path, O_RDONLY);
    flush_file(fd.get(), path);
    if (options.verbose) fmt::print("flushed {}\n", path);
  });
}

}  // namespace

Command flush_command() {
  return make_command<Options>(
      "flush", "write a file's memory back and drop what this host has cached of it", declare,
      work);
}

}  // namespace famfs::cli
