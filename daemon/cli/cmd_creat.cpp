// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "cli/commands.h"
#include "cli/file_io.h"
#include "cli/file_maker.h"
#include "cli/file_spec.h"
#include "cli/layout_options.h"
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
  LayoutOptions layout;
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
  options.layout.declare(app);
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

int work(const Options& options) {
  const std::vector<FileSpec> files = wanted_files(options);
  std::vector<WantedFile> wanted;
  wanted.reserve(files.size());
  for (const FileSpec& file : files) wanted.push_back({file.path, file.size, options.ownership});
  int code = kExitOk;
  const std::vector<Made> made =
      make_files("famfs creat", wanted, options.layout.interleave_for(files.front().path), code);
  if (options.verbose > 0) {
    for (std::size_t i = 0; i < files.size(); ++i) {
      if (made[i] == Made::kFailed) continue;
      fmt::print("{} {} ({} bytes)\n", made[i] == Made::kNew ? "created" : "exists", files[i].path,
                 files[i].size);
    }
  }
  if (code != kExitOk) return code;
  return for_each_reported("famfs creat", files.size(), options.threads, [&](std::size_t index) {
    if (files[index].fill) fill_random(files[index].path, files[index].seed);
  });
}

}  // namespace

Command creat_command() {
  return make_command<Options>("creat", "make a file of a given size (master only)", declare, work);
}

}  // namespace famfs::cli
