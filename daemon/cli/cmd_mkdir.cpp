// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/mount_client.h"
#include "cli/parallel.h"

namespace famfs::cli {
namespace {

struct Options {
  std::vector<std::string> directories;
  bool parents = false;
  bool verbose = false;
  Ownership ownership{0755, geteuid(), getegid()};
};

void declare(CLI::App& app, Options& options) {
  app.add_option("DIR", options.directories, "directories to make in a famfs mount")->required();
  app.add_flag("-p,--parents", options.parents,
               "make missing parents too; no error if it exists already");
  add_mode(app, "-m,--mode", options.ownership.mode, "permissions in octal (default 0755)");
  add_number(app, "-u,--uid", options.ownership.uid, UINT32_MAX, "owner (default: you)");
  add_number(app, "-g,--gid", options.ownership.gid, UINT32_MAX, "group (default: yours)");
  app.add_flag("-v,--verbose", options.verbose, "name each directory made");
}

bool is_directory(const std::string& path) {
  struct stat attributes = {};
  return stat(path.c_str(), &attributes) == 0 && S_ISDIR(attributes.st_mode);
}

void make(const std::string& path, const Options& options) {
  if (options.parents && is_directory(path)) return;
  const auto [parent, name] = split_path(path);
  if (options.parents && !is_directory(parent)) make(parent, options);
  MountedDirectory(parent).make_directory(name, options.ownership);
  if (options.verbose) fmt::print("made directory {}\n", path);
}

int work(const Options& options) {
  return for_each_reported("famfs mkdir", options.directories.size(), 1,
                           [&](std::size_t index) { make(options.directories[index], options); });
}

}  // namespace

Command mkdir_command() {
  return make_command<Options>("mkdir", "make a directory (master only)", declare, work);
}

}  // namespace famfs::cli
