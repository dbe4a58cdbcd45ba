// SPDX-License-Identifier: Apache-2.0
#include "cli/daemon_options.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <functional>
#include <string>

#include "base/error.h"
#include "cli/device_scan.h"
#include "cli/numbers.h"
#include "mapping/method.h"

namespace famfs::cli {
namespace {

constexpr std::uint64_t kMaxThreads = 1024;
constexpr std::uint64_t kMaxTimeout = 10ULL * 365 * 24 * 3600;

struct Option {
  std::string_view name;  // with a trailing '=' when it takes a value
  std::string_view help;
  void (*apply)(DaemonOptions& options, const std::string& value);
};

std::uint64_t number(std::string_view name, const std::string& value, std::uint64_t maximum) {
  const auto parsed = parse_number(value, maximum);
  if (!parsed) {
    throw base::Error(EINVAL, "-o {}{}: allowed is a number from 0 to {}", name, value, maximum);
  }
  return *parsed;
}

constexpr auto kOptions = std::to_array<Option>({
    {"memory=",
     "automatic, device, file, or noncoherent (a file as seen by a host with a cache of "
     "its own; for tests)",
     [](DaemonOptions& options, const std::string& value) {
       const auto backend = memory::parse_backend(value);
       if (!backend) {
         throw base::Error(EINVAL, "-o memory={}: allowed are automatic, device, file, noncoherent",
                           value);
       }
       options.backend = *backend;
     }},
    {"daxdev=", kDaxdevHelp,
     [](DaemonOptions& options, const std::string& value) { options.daxdevs.push_back(value); }},
    {"method=",
     "mapping method to use instead of the best that kernel and device have: extent-map, fmap, "
     "fmap-v10, daemon-served",
     [](DaemonOptions& options, const std::string& value) {
       mapping::check_method_name(value);
       options.method = value;
     }},
    {"set_daxmode",
     "give the dax device to the driver that the method needs, until it is unmounted",
     [](DaemonOptions& options, const std::string&) { options.set_daxmode = true; }},
    {"timeout=", "seconds that the kernel keeps names and attributes (default one year)",
     [](DaemonOptions& options, const std::string& value) {
       options.timeout_seconds = static_cast<double>(number("timeout=", value, kMaxTimeout));
     }},
    {"client", "never act as master, also on the host that made the file system",
     [](DaemonOptions& options, const std::string&) { options.client = true; }},
    {"allow_other", "other users may use the mount (default for root)",
     [](DaemonOptions& options, const std::string&) { options.allow_other = true; }},
    {"no_allow_other", "only the user who mounts may use it",
     [](DaemonOptions& options, const std::string&) { options.allow_other = false; }},
    {"default_permissions", "the kernel checks modes and owners (default)",
     [](DaemonOptions& options, const std::string&) { options.default_permissions = true; }},
    {"no_default_permissions", "nobody checks modes and owners",
     [](DaemonOptions& options, const std::string&) { options.default_permissions = false; }},
    {"ro", "change nothing: no file can be written, and never act as master",
     [](DaemonOptions& options, const std::string&) { options.read_only = true; }},
    {"rw", "not ro (default)",
     [](DaemonOptions& options, const std::string&) { options.read_only = false; }},
    {"clone_fd", "a /dev/fuse descriptor for each thread (default)",
     [](DaemonOptions& options, const std::string&) { options.clone_fd = true; }},
    {"no_clone_fd", "one /dev/fuse descriptor for all threads",
     [](DaemonOptions& options, const std::string&) { options.clone_fd = false; }},
    {"max_threads=", "threads that serve requests",
     [](DaemonOptions& options, const std::string& value) {
       options.max_threads = static_cast<unsigned>(number("max_threads=", value, kMaxThreads));
     }},
    {"shadow=", "directory for the log and the control socket, instead of one of its own",
     [](DaemonOptions& options, const std::string& value) { options.run_directory = value; }},
    {"debug", "log every FUSE message; one thread",
     [](DaemonOptions& options, const std::string&) { options.debug = true; }},
});

// Of mount(8), passed on as they are.
constexpr auto kMountFlags =
    std::to_array<std::string_view>({"nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime",
                                     "atime", "sync", "async", "dirsync"});

// Accepted and without meaning here: the first line is of the reference famfs's daemon; the others
// are for mount(8), systemd and whoever reads /etc/fstab, or about times, which the log has not.
constexpr auto kIgnored = std::to_array<std::string_view>(
    {"flock",    "no_flock",   "defaults",    "auto",          "noauto",   "nofail",
     "_netdev",  "silent",     "loud",        "user",          "nouser",   "users",
     "owner",    "noowner",    "group",       "nogroup",       "diratime", "nodiratime",
     "relatime", "norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime"});
constexpr auto kIgnoredPrefixes =
    std::to_array<std::string_view>({"x-", "X-", "comment=", "user="});

struct Refused {
  std::string_view name;
  std::string_view why;
};
constexpr auto kRefused = std::to_array<Refused>({
    {"remount", "unmount it and mount it again"},
    {"bind", "that is for `mount --bind`, without a file system type"},
    {"mand", "the kernel has no mandatory locks any more"},
    {"loop", "famfs uses a plain file as it is"},
});

void apply_one(const std::string& text, DaemonOptions& options) {
  const std::size_t equals = text.find('=');
  const bool has_value = equals != std::string::npos;
  const std::string name = has_value ? text.substr(0, equals + 1) : text;
  const std::string value = has_value ? text.substr(equals + 1) : "";
  for (const Option& option : kOptions) {
    if (option.name == name) return option.apply(options, value);
  }
  for (const std::string_view flag : kMountFlags) {
    if (flag == text) {
      options.mount_flags.push_back(text);
      return;
    }
  }
  for (const std::string_view ignored : kIgnored) {
    if (ignored == text) return;
  }
  for (const std::string_view prefix : kIgnoredPrefixes) {
    if (text.starts_with(prefix)) return;
  }
  for (const Refused& refused : kRefused) {
    if (refused.name == text) {
      throw base::Error(EINVAL, "mount option \"{}\" is not possible: {}", text, refused.why);
    }
  }
  std::string allowed;
  for (const Option& option : kOptions) allowed += fmt::format("{}, ", option.name);
  for (const std::string_view flag : kMountFlags) allowed += fmt::format("{}, ", flag);
  allowed.resize(allowed.size() - 2);
  throw base::Error(EINVAL, "mount option \"{}\" is not known; allowed: {}", text, allowed);
}

}  // namespace

void apply_mount_options(std::string_view list, DaemonOptions& options) {
  std::string current;
  const auto finish = [&] {
    if (!current.empty()) apply_one(current, options);
    current.clear();
  };
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (list[i] == ',') {
      finish();
      continue;
    }
    if (list[i] == '\\' && i + 1 < list.size()) ++i;
    current.push_back(list[i]);
  }
  finish();
}

std::string mount_option_help() {
  std::string help = "Mount options (-o):\n";
  for (const Option& option : kOptions) {
    help += fmt::format("  {:<24}{}\n", option.name, option.help);
  }
  return help +
         "and nosuid, nodev, noexec, noatime, sync, dirsync of mount(8). What only fstab(5) and "
         "mount(8) look at (noauto, nofail, _netdev, user, x-...) is accepted and ignored.";
}

}  // namespace famfs::cli
