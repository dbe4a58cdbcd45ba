// SPDX-License-Identifier: Apache-2.0
#include "control/logging.h"

#include <fmt/format.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <memory>
#include <vector>

#include "base/error.h"

namespace famfs::control {
namespace {

constexpr std::array<spdlog::level::level_enum, kLogLevels> kLevels = {
    spdlog::level::critical, spdlog::level::critical, spdlog::level::critical,
    spdlog::level::err,      spdlog::level::warn,     spdlog::level::info,
    spdlog::level::info,     spdlog::level::debug};

// spdlog has fewer levels than syslog, so the number that was set is kept beside it.
std::atomic<int> current_level = kDefaultLogLevel;

}  // namespace

void open_log(const std::string& path, bool to_stderr) {
  try {
    std::vector<spdlog::sink_ptr> sinks;
    sinks.push_back(std::make_shared<spdlog::sinks::basic_file_sink_mt>(path));
    // The journal, where that is the system's log, takes the same. Time and level are its own.
    sinks.push_back(
        std::make_shared<spdlog::sinks::syslog_sink_mt>("famfsd", LOG_PID, LOG_DAEMON, false));
    if (to_stderr) sinks.push_back(std::make_shared<spdlog::sinks::stderr_sink_mt>());
    auto logger = std::make_shared<spdlog::logger>("famfsd", sinks.begin(), sinks.end());
    logger->set_pattern("[%Y-%m-%d %H:%M:%S.%e] [%l] %v");
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
  } catch (const spdlog::spdlog_ex& error) {
    throw base::Error(EIO, fmt::format("cannot open the log {}: {}", path, error.what()));
  }
  set_log_level(kDefaultLogLevel);
}

void set_log_level(int level) {
  current_level = level;
  spdlog::set_level(kLevels.at(static_cast<std::size_t>(level)));
}

int log_level() { return current_level; }

}  // namespace famfs::control
