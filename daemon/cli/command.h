// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace famfs::cli {

// Exit codes of every program here. A failed operation exits with its errno (at most 127), so
// that scripts can tell causes apart; the few codes below have their own meaning.
inline constexpr int kExitOk = 0;
inline constexpr int kExitUsage = 1;
inline constexpr int kExitUnknownCommand = 3;
inline constexpr int kExitLargest = 127;

// Options that do not go together: exits with kExitUsage.
class UsageError : public base::Error {
 public:
  explicit UsageError(std::string message) : base::Error(EINVAL, std::move(message)) {}
};

// Exit code for a positive errno.
int exit_code(int error);

// How `run` is called: catches everything, prints "PROGRAM: message" to stderr and returns the
// exit code.
int run_guarded(const std::string& program, const std::function<int()>& run);

// Parses `arguments` (without the program name) with `app` and then calls `run`. Help exits 0,
// bad usage kExitUsage with a message on stderr.
int parse_and_run(CLI::App& app, std::vector<std::string> arguments,
                  const std::function<int()>& run);

// The help flags that every program has, or only "-?,--help" where -h means something else.
inline constexpr const char* kHelpFlags = "-h,--help,-?";

// A subcommand: its name, one line for the list of commands, and what runs it.
struct Command {
  std::string_view name;
  std::string_view summary;
  std::function<int(std::vector<std::string>)> run;
};

// A subcommand made of an options structure, the function that declares the options and the one
// that does the work. `Options` is default-constructed for each run.
template <typename Options>
Command make_command(std::string_view name, std::string_view summary,
                     void (*declare)(CLI::App&, Options&), int (*work)(const Options&),
                     const char* help_flags = kHelpFlags) {
  return {name, summary, [=](std::vector<std::string> arguments) {
            CLI::App app{std::string(summary), "famfs " + std::string(name)};
            app.set_help_flag(help_flags, "print this help and exit");
            Options options;
            declare(app, options);
            return parse_and_run(app, std::move(arguments), [&] { return work(options); });
          }};
}

// An option for a byte count with suffix k, m, g or t.
CLI::Option* add_size(CLI::App& app, const std::string& names, std::uint64_t& target,
                      const std::string& description);

// An option for permission bits in octal.
CLI::Option* add_mode(CLI::App& app, const std::string& names, std::uint32_t& target,
                      const std::string& description);

// An option for an unsigned number no larger than `maximum`.
CLI::Option* add_number(CLI::App& app, const std::string& names, std::uint32_t& target,
                        std::uint32_t maximum, const std::string& description);

// Flags that the reference famfs has and that change nothing here, accepted and not shown.
void accept_ignored_flags(CLI::App& app, const std::vector<std::string>& names);

}  // namespace famfs::cli
