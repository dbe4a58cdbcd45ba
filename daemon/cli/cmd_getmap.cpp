// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/mount_client.h"

namespace famfs::cli {
namespace {

struct Options {
  std::vector<std::string> files;
  bool quiet = false;
  bool go_on = false;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("FILE", options.files, "files of a famfs mount")->required();
  app.add_flag("-q,--quiet", options.quiet, "print nothing; only the exit code tells");
  app.add_flag("-c,--continue", options.go_on, "go on after a file that is not famfs");
  app.footer(
      "Exit code: 0 every file has a map, 1 a file is not in a famfs mount, 2 a file is not "
      "there, else the errno.");
}

void print_map(const std::string& path, const fuse::ioctl::GetMap& map) {
  fmt::print("File: {}\n\tsize: {}\n\tmethod: {}\n\textents: {}{}\n", path, map.size, map.method,
             map.extents,
             map.chunk_size == 0 ? "" : fmt::format(" (strips, chunk size {})", map.chunk_size));
  for (std::uint32_t i = 0; i < map.extents && i < fuse::ioctl::kExtents; ++i) {
    const fuse::ioctl::Extent& extent = map.extent[i];
    fmt::print("\tdev: {} offset: {:#x} len: {:#x}\n", extent.device, extent.offset, extent.length);
  }
}

int work(const Options& options) {
  int code = kExitOk;
  for (const std::string& path : options.files) {
    try {
      fuse::ioctl::GetMap map = get_map(path);
      map.method[sizeof(map.method) - 1] = '\0';
      if (!options.quiet) print_map(path, map);
    } catch (const base::Error& error) {
      if (!options.quiet) fmt::print(stderr, "famfs getmap: {}\n", error.what());
      code = error.code() == ENOTTY ? 1 : exit_code(error.code());
      if (!options.go_on) break;
    }
  }
  return code;
}

}  // namespace

Command getmap_command() {
  return make_command<Options>("getmap", "show where the bytes of a file are", declare, work);
}

}  // namespace famfs::cli
