// SPDX-License-Identifier: Apache-2.0
//
// famfsd: serves one mount. `famfs mount` starts it; by hand it stays in the foreground.
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file_descriptor.h"
#include "cli/command.h"
#include "cli/daemon_options.h"
#include "cli/handover.h"
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

// This program's file as it is now: another one after an upgrade.
std::string program_file() {
  std::string path = std::filesystem::read_symlink("/proc/self/exe").string();
  constexpr std::string_view kReplaced = " (deleted)";
  if (path.ends_with(kReplaced)) path.resize(path.size() - kReplaced.size());
  return path;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> all;
  all.reserve(words.size() + 1);
  for (std::string& word : words) all.push_back(word.data());
  all.push_back(nullptr);
  return all;
}

// Throws unless that program takes what this one writes.
void require_successor(const std::string& program) {
  std::vector<std::string> words{program, fmt::format("--takes-over={}", cli::kHandoverVersion)};
  pid_t pid = 0;
  if (const int error =
          posix_spawn(&pid, program.c_str(), nullptr, nullptr, pointers(words).data(), environ)) {
    throw base::Error(error, "{} cannot be run: {}", program, std::strerror(error));
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw base::Error(EPROTO, "{} does not take over from famfsd {}; unmount and mount to use it",
                      program, FAMFS_VERSION);
  }
}

void keep_open(int fd, bool keep) {
  if (fd >= 0) fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

// Becomes the program that is installed now. Returns only by an exception, with all as it was.
void replace(cli::Handover& handover, std::vector<std::string> words) {
  const std::string program = program_file();
  require_successor(program);
  const base::FileDescriptor file = cli::write_handover(handover);
  words.insert(words.begin(), {program, fmt::format("--take-over={}", file.get())});
  const int kept[] = {file.get(), handover.fuse_fd, handover.lock_fd};
  for (const int fd : kept) keep_open(fd, true);
  execv(program.c_str(), pointers(words).data());
  const int error = errno;
  for (const int fd : kept) keep_open(fd, false);
  throw base::Error(error, "{} cannot be run: {}", program, std::strerror(error));
}

std::optional<cli::Handover> take_over(int fd) {
  if (fd < 0) return std::nullopt;
  const base::FileDescriptor file(fd);
  cli::Handover handover = cli::read_handover(fd);
  keep_open(handover.fuse_fd, false);
  keep_open(handover.lock_fd, false);
  return handover;
}

int run(cli::DaemonOptions options, const std::vector<std::string>& lists, int ready_fd,
        int take_over_fd, const std::vector<std::string>& words) {
  std::optional<cli::Handover> before = take_over(take_over_fd);
  // Where relative names in the arguments were meant.
  const std::string directory =
      before ? before->directory : std::filesystem::current_path().string();
  const auto replace_this = [&](cli::Handover& handover) {
    handover.directory = directory;
    replace(handover, words);
  };
  const auto apply_lists = [&] {
    for (const std::string& list : lists) cli::apply_mount_options(list, options);
  };
  if (before) {
    if (chdir(directory.c_str()) != 0) throw base::system_error("cannot enter " + directory);
    apply_lists();
    options.foreground = before->foreground;
    const auto ready = [&](const std::string& /*text*/) {
      if (!options.foreground) detach();
      return true;
    };
    cli::serve(options, std::move(before), ready, replace_this);
    return cli::kExitOk;
  }
  if (ready_fd < 0) {
    apply_lists();
    options.foreground = true;
    const auto ready = [](const std::string& text) {
      fmt::print("{}", text);
      return std::fflush(stdout) == 0;
    };
    cli::serve(options, std::nullopt, ready, replace_this);
    return cli::kExitOk;
  }
  // Ctrl-C is for `famfs mount`: when that ends, ready() below says so and the mount is undone.
  setsid();
  std::signal(SIGPIPE, SIG_IGN);
  cli::ReadyWriter writer{base::FileDescriptor(ready_fd)};
  try {
    apply_lists();
    const auto ready = [&](const std::string& text) {
      detach();
      return writer.ready(text);
    };
    cli::serve(options, std::nullopt, ready, replace_this);
  } catch (const base::Error& error) {
    writer.failed(error);
    return cli::exit_code(error.code());
  }
  return cli::kExitOk;
}

int run_program(std::vector<std::string> arguments) {
  // Asked by a program that is to be replaced by this one, before it is.
  if (arguments == std::vector{fmt::format("--takes-over={}", cli::kHandoverVersion)}) return 0;
  CLI::App app{
      "Serves one famfs mount: what `famfs mount` starts. By hand it stays in the "
      "foreground until it is unmounted or gets SIGTERM. On SIGUSR2 the famfsd that is installed "
      "now takes its place, and the mount stays.",
      "famfsd"};
  app.set_help_flag(cli::kHelpFlags, "print this help and exit");
  app.set_version_flag("-V,--version", "famfsd " FAMFS_VERSION);
  app.footer(cli::mount_option_help());
  cli::DaemonOptions options;
  std::vector<std::string> lists;
  int ready_fd = -1;
  int take_over_fd = -1;
  app.add_option("DEV", options.device, "dax device (or a plain file)")->required();
  app.add_option("MPT", options.mount_point, "directory to mount at")->required();
  app.add_option("-o", lists, "mount options, see below")->allow_extra_args(false);
  app.add_flag("-d,--debug", options.debug, "log every FUSE message; one thread");
  app.add_option("--run-dir", options.run_directory, "directory for the log and control socket");
  cli::accept_ignored_flags(app, {"-f"});  // foreground, where it always is
  app.add_option("--ready-fd", ready_fd, "descriptor to report readiness to")->group("");
  app.add_option("--take-over", take_over_fd, "what the program before this one left")->group("");
  std::vector<std::string> words;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--ready-fd") {
      ++i;
    } else if (!arguments[i].starts_with("--take-over=")) {
      words.push_back(arguments[i]);
    }
  }
  return cli::parse_and_run(app, std::move(arguments),
                            [&] { return run(options, lists, ready_fd, take_over_fd, words); });
}

}  // namespace

int main(int argc, char** argv) {
  return cli::run_guarded("famfsd", [&] { return run_program({argv + 1, argv + argc}); });
}
