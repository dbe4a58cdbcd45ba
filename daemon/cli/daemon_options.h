// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "memory/open.h"

namespace famfs::cli {

// What famfsd is told; `famfs mount` hands the same on.
struct DaemonOptions {
  std::string device;
  std::string mount_point;
  memory::Backend backend = memory::Backend::kAutomatic;
  std::vector<std::string> daxdevs;  // where to look for further devices
  std::string method;                // mapping method, empty for the best
  std::string run_directory;         // empty: one of its own under the default root
  bool client = false;               // never master
  bool read_only = false;            // nothing is written, and so never master either
  bool set_daxmode = false;          // give the device to the driver that the method needs
  bool allow_other = true;
  bool default_permissions = true;
  bool clone_fd = true;
  bool debug = false;
  bool foreground = false;   // log to stderr too
  unsigned max_threads = 0;  // 0: libfuse's default
  double timeout_seconds = 31536000;
  std::vector<std::string> mount_flags;  // ro, nosuid, … as they are
};

// Applies one `-o` argument: options separated by commas. A backslash keeps the next character from
// separating. Throws base::Error(EINVAL) that names the option and those allowed.
void apply_mount_options(std::string_view list, DaemonOptions& options);

// One line for each option, for --help.
std::string mount_option_help();

}  // namespace famfs::cli
