// SPDX-License-Identifier: Apache-2.0
#include "cli/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <new>

#include "base/error.h"
#include "base/size_units.h"
#include "cli/numbers.h"

namespace famfs::cli {
namespace {

template <typename Parse>
CLI::Option* add_parsed(CLI::App& app, const std::string& names, const std::string& type,
                        const std::string& description, Parse parse) {
  return app
      .add_option_function<std::string>(
          names,
          [names, type, parse](const std::string& text) {
            if (!parse(text)) {
              throw CLI::ValidationError(names, fmt::format("\"{}\" is not {}", text, type));
            }
          },
          description)
      ->type_name("");
}

}  // namespace

int exit_code(int error) { return std::clamp(error, 1, kExitLargest); }

int run_guarded(const std::string& program, const std::function<int()>& run) {
  try {
    const int code = run();
    if (std::fflush(stdout) != 0) {
      fmt::print(stderr, "{}: cannot write to standard output\n", program);
      return exit_code(EIO);
    }
    return code;
  } catch (const UsageError& error) {
    fmt::print(stderr, "{}: {}\n", program, error.what());
    return kExitUsage;
  } catch (const base::Error& error) {
    fmt::print(stderr, "{}: {}\n", program, error.what());
    return exit_code(error.code());
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "{}: out of memory\n", program);
    return exit_code(ENOMEM);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", program, error.what());
    return exit_code(EIO);
  }
}

int parse_and_run(CLI::App& app, std::vector<std::string> arguments,
                  const std::function<int()>& run) {
  try {
    std::reverse(arguments.begin(), arguments.end());  // the order that CLI11 takes them in
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  return run_guarded(app.get_name(), run);
}

CLI::Option* add_size(CLI::App& app, const std::string& names, std::uint64_t& target,
                      const std::string& description) {
  return add_parsed(app, names, "a size: digits and one of k, m, g, t", description,
                    [&target](const std::string& text) {
                      try {
                        target = base::parse_size(text);
                      } catch (const base::Error&) {
                        return false;
                      }
                      return true;
                    });
}

CLI::Option* add_mode(CLI::App& app, const std::string& names, std::uint32_t& target,
                      const std::string& description) {
  return add_parsed(app, names, "a mode in octal from 0 to 7777", description,
                    [&target](const std::string& text) {
                      const auto value = parse_mode(text);
                      if (value) target = *value;
                      return value.has_value();
                    });
}

CLI::Option* add_number(CLI::App& app, const std::string& names, std::uint32_t& target,
                        std::uint32_t maximum, const std::string& description) {
  return add_parsed(app, names, fmt::format("a number from 0 to {}", maximum), description,
                    [&target, maximum](const std::string& text) {
                      const auto value = parse_number(text, maximum);
                      if (value) target = static_cast<std::uint32_t>(*value);
                      return value.has_value();
                    });
}

void accept_ignored_flags(CLI::App& app, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    app.add_flag_function(name, [](std::int64_t) {})->group("");
  }
}

}  // namespace famfs::cli
