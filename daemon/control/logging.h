// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace famfs::control {

// Levels of syslog(3): 0 emergency .. 3 error, 4 warning, 5 notice, 6 info, 7 debug.
inline constexpr int kLogLevels = 8;
inline constexpr int kDefaultLogLevel = 6;

// Sends the process's log (spdlog's default logger) to the file `path`, appended and flushed
// line by line, and to the system's log by syslog(3) as "famfsd" of facility daemon; with
// `to_stderr` also there. Throws base::Error. Call once, before threads.
void open_log(const std::string& path, bool to_stderr);

// `level` in 0..7; thread-safe.
void set_log_level(int level);
int log_level();

}  // namespace famfs::control
