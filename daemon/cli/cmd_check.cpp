// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/mount_client.h"
#include "cli/mounts.h"

namespace famfs::cli {
namespace {

constexpr int kExitUnmapped = 1;

struct Options {
  std::string mount_point;
  int verbose = 0;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("MPT", options.mount_point, "mount point")->required();
  app.add_flag("-v,--verbose", options.verbose, "name each file");
  app.footer("Exit code: 0 every file has a map that holds all of it, 1 a file has none.");
}

void require_map(const std::string& path) {
  const fuse::ioctl::GetMap map = get_map(path);
  std::uint64_t mapped = 0;
  for (std::uint32_t i = 0; i < map.extents && i < fuse::ioctl::kExtents; ++i) {
    mapped += map.extent[i].length;
  }
  if (mapped < map.size) {
    throw base::Error(EIO, "{} has {} bytes, its map holds {}", path, map.size, mapped);
  }
}

int work(const Options& options) {
  const auto mount = mount_at(options.mount_point);
  if (!mount) throw base::Error(EINVAL, "{} is not a famfs mount point", options.mount_point);
  std::uint64_t files = 0;
  std::uint64_t bad = 0;
  std::error_code error;
  std::filesystem::recursive_directory_iterator it(mount->target, error);
  for (const std::filesystem::recursive_directory_iterator end; !error && it != end;
       it.increment(error)) {
    const std::string path = it->path().string();
    if (!it->is_regular_file(error) || error) continue;
    ++files;
    try {
      require_map(path);
      if (options.verbose > 0) fmt::print("{}: mapped\n", path);
    } catch (const base::Error& failure) {
      ++bad;
      fmt::print(stderr, "famfs check: {}\n", failure.what());
    }
  }
  if (error) {
    throw base::Error(error.value(), "cannot read {}: {}", mount->target, error.message());
  }
  fmt::print("{} files, {} of them without a map\n", files, bad);
  return bad == 0 ? kExitOk : kExitUnmapped;
}

}  // namespace

Command check_command() {
  return make_command<Options>("check", "check that every file of a mount has a map", declare,
                               work);
}

}  // namespace famfs::cli
