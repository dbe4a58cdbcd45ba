// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/file_io.h"
#include "cli/file_spec.h"
#include "cli/layout_options.h"
#include "cli/mount_client.h"
#include "cli/parallel.h"

namespace famfs::cli {
namespace {

constexpr std::uint32_t kMaxThreads = 256;

struct Options {
  std::string file;
  std::uint64_t size = 0;
  bool randomize = false;
  std::uint32_t seed = 0;
  std::vector<std::string> multi;
  std::uint32_t threads = std::thread::hardware_concurrency();
  int verbose = 0;
  Ownership ownership{0644, geteuid(), getegid()};
  Interleave interleave;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("FILE", options.file, "file to make in a famfs mount");
  add_size(app, "-s,--size", options.size, "bytes, or with k, m, g, t");
  app.add_flag("-r,--randomize", options.randomize, "fill it with the pattern of the seed");
  add_number(app, "-S,--seed", options.seed, UINT32_MAX, "seed of the pattern (default 0)");
  app.add_option("-M,--multi", options.multi,
                 "NAME,SIZE[,SEED]: make several; filled when SEED is not 0 (repeat)")
      ->allow_extra_args(false);
  add_number(app, "-t,--threadct", options.threads, kMaxThreads,
             "threads that fill files (default: one for each processor)");
  add_mode(app, "-m,--mode", options.ownership.mode, "permissions in octal (default 0644)");
  add_number(app, "-u,--uid", options.ownership.uid, UINT32_MAX, "owner (default: you)");
  add_number(app, "-g,--gid", options.ownership.gid, UINT32_MAX, "group (default: yours)");
  add_interleave(app, options.interleave);
  app.add_flag("-v,--verbose", options.verbose, "name each file");
  app.footer(
      "A file that exists with the same size is left as it is (and filled again with -r).\n"
      "Examples: famfs creat -s 1g /mnt/famfs/f\n"
      "          famfs creat -M /mnt/famfs/a,10m,1 -M /mnt/famfs/b,10m,2");
}

std::vector<FileSpec> wanted_files(const Options& options) {
  std::vector<FileSpec> files;
  files.reserve(options.multi.size());
  for (const std::string& text : options.multi) files.push_back(parse_create_spec(text));
  if (options.file.empty() == files.empty()) {
    throw UsageError("give either one FILE with --size, or --multi NAME,SIZE[,SEED]");
  }
  if (files.empty()) {
    files.push_back({options.file, options.size, options.seed, options.randomize});
  }
  for (const FileSpec& file : files) {
    if (file.size == 0) {
      throw UsageError(file.path +
                       ": size is 0 or not given; a famfs file has at least 1 byte (--size N)");
    }
  }
  return files;
}

// False when it exists with that size.
bool create(const FileSpec& file, const Options& options, const Interleave& interleave) {
  const auto [parent, name] = split_path(file.path);
  try {
    MountedDirectory(parent).create_file(name, file.size, options.ownership, interleave);
    return true;
  } catch (const base::Error& error) {
    struct stat existing = {};
    if (error.code() != EEXIST || stat(file.path.c_str(), &existing) != 0) throw;
    if (!S_ISREG(existing.st_mode)) {
      throw base::Error(EEXIST, "{} exists and is not a file", file.path);
    }
    if (static_cast<std::uint64_t>(existing.st_size) != file.size) {
      throw base::Error(EEXIST,
                        "{} exists with {} bytes, {} were asked for; a famfs file keeps its "
                        "size, choose another name",
                        file.path, existing.st_size, file.size);
    }
    return false;
  }
}

int work(const Options& options) {
  const Interleave interleave = completed(options.interleave);
  const std::vector<FileSpec> files = wanted_files(options);
  // One after the other: the daemon appends to the log in the order asked.
  const int created = for_each_reported("famfs creat", files.size(), 1, [&](std::size_t index) {
    const bool made = create(files[index], options, interleave);
    if (options.verbose > 0) {
      fmt::print("{} {} ({} bytes)\n", made ? "created" : "exists", files[index].path,
                 files[index].size);
    }
  });
  if (created != kExitOk) return created;
  return for_each_reported("famfs creat", files.size(), options.threads, [&](std::size_t index) {
    if (files[index].fill) fill_random(files[index].path, files[index].seed);
  });
}

}  // namespace

Command creat_command() {
  return make_command<Options>("creat", "make a file of a given size (master only)", declare, work);
}

}  // namespace famfs::cli
