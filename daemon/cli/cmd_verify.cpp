// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/file_io.h"
#include "cli/file_spec.h"
#include "cli/parallel.h"

namespace famfs::cli {
namespace {

constexpr std::uint32_t kMaxThreads = 256;

struct Options {
  std::string file;
  std::uint32_t seed = 0;
  std::vector<std::string> multi;
  std::uint32_t threads = std::thread::hardware_concurrency();
  bool quiet = false;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("-f,--filename", options.file, "file that `famfs creat -r` filled");
  add_number(app, "-S,--seed", options.seed, UINT32_MAX, "seed that it was filled with");
  app.add_option("-m,--multi", options.multi, "NAME,SEED: check several (repeat)")
      ->allow_extra_args(false);
  add_number(app, "-t,--threadct", options.threads, kMaxThreads,
             "threads (default: one for each processor)");
  app.add_flag("-q,--quiet", options.quiet, "print only failures");
  app.footer("Exit code: 0 all as expected, 84 (EILSEQ) the content differs, else the errno.");
}

int work(const Options& options) {
  std::vector<FileSpec> files;
  files.reserve(options.multi.size());
  for (const std::string& text : options.multi) files.push_back(parse_verify_spec(text));
  if (options.file.empty() == files.empty()) {
    throw UsageError("give either --filename FILE --seed N, or --multi NAME,SEED");
  }
  if (files.empty()) files.push_back({options.file, 0, options.seed, false});
  return for_each_reported("famfs verify", files.size(), options.threads, [&](std::size_t index) {
    verify_random(files[index].path, files[index].seed);
    if (!options.quiet) fmt::print("verified {} (seed {})\n", files[index].path, files[index].seed);
  });
}

}  // namespace

Command verify_command() {
  return make_command<Options>("verify", "check a file that creat -r filled", declare, work);
}

}  // namespace famfs::cli
