// SPDX-License-Identifier: Apache-2.0
//
// famfsd: serves one mount. `famfs mount` starts it; by hand it stays in the foreground.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "base/file_descriptor.h"
#include "cli/command.h"
#include "cli/daemon_options.h"
#include "cli/readiness.h"
#include "cli/serve.h"

namespace {

using namespace famfs;

// From here on the daemon belongs to nobody's terminal and keeps no directory busy.
void detach() {
  const base::FileDescriptor null = base::open_file("/dev/null", O_RDWR);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null.get(), fd);
  if (chdir("/") != 0) throw base::system_error("cannot enter /");
}

int run(cli::DaemonOptions options, const std::vector<std::string>& lists, int ready_fd) {
  const auto apply_lists = [&] {
    for (const std::string& list : lists) cli::apply_mount_options(list, options);
  };
  if (ready_fd < 0) {
    apply_lists();
    options.foreground = true;
    cli::serve(options, [](const std::string& text) {
      fmt::print("{}", text);
      return std::fflush(stdout) == 0;
    });
    return cli::kExitOk;
  }
  // Ctrl-C is for `famfs mount`: when that ends, ready() below says so and the mount is undone.
  setsid();
  std::signal(SIGPIPE, SIG_IGN);
  cli::ReadyWriter writer{base::FileDescriptor(ready_fd)};
  try {
    apply_lists();
    cli::serve(options, [&](const std::string& text) {
      detach();
      return writer.ready(text);
    });
  } catch (const base::Error& error) {
    writer.failed(error);
    return cli::exit_code(error.code());
  }
  return cli::kExitOk;
}

int run_program(std::vector<std::string> arguments) {
  CLI::App app{
      "Serves one famfs mount: what `famfs mount` starts. By hand it stays in the "
      "foreground until it is unmounted or gets SIGTERM.",
      "famfsd"};
  app.set_help_flag(cli::kHelpFlags, "print this help and exit");
  app.set_version_flag("-V,--version", "famfsd " FAMFS_VERSION);
  app.footer(cli::mount_option_help());
  cli::DaemonOptions options;
  std::vector<std::string> lists;
  int ready_fd = -1;
  app.add_option("DEV", options.device, "dax device (or a plain file)")->required();
  app.add_option("MPT", options.mount_point, "directory to mount at")->required();
  app.add_option("-o", lists, "mount options, see below")->allow_extra_args(false);
  app.add_flag("-d,--debug", options.debug, "log every FUSE message; one thread");
  app.add_option("--run-dir", options.run_directory, "directory for the log and control socket");
  cli::accept_ignored_flags(app, {"-f"});  // foreground, where it always is
  app.add_option("--ready-fd", ready_fd, "descriptor to report readiness to")->group("");
  return cli::parse_and_run(app, std::move(arguments),
                            [&] { return run(options, lists, ready_fd); });
}

}  // namespace

int main(int argc, char** argv) {
  return cli::run_guarded("famfsd", [&] { return run_program({argv + 1, argv + argc}); });
}
