// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"

namespace famfs::cli {
namespace {

struct Options {
  std::vector<std::string> paths;
  int verbose = 0;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("PATH", options.paths, "SOURCE DESTINATION")->required()->expected(2);
  app.add_flag("-v,--verbose", options.verbose, "has no meaning here");
}

int work(const Options& options) {
  // The command exists to make damage for tests; a log with it in is played no further.
  throw base::Error(EOPNOTSUPP,
                    "{} would share its bytes with {}, which is damage that every host stops at; "
                    "copy it with `famfs cp`",
                    options.paths.back(), options.paths.front());
}

}  // namespace

Command clone_command() {
  return make_command<Options>("clone", "not available: files do not share bytes", declare, work);
}

}  // namespace famfs::cli
