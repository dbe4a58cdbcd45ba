// SPDX-License-Identifier: Apache-2.0
#include "fuse/log_watch.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <exception>
#include <utility>

#include "base/error.h"

namespace famfs::fuse {
namespace {

// Half of the 100 ms within which a client knows of new entries.
constexpr std::chrono::milliseconds kPeriod{50};

}  // namespace

LogWatch::LogWatch(Filesystem& filesystem, std::function<void()> superseded)
    : filesystem_(filesystem),
      superseded_(std::move(superseded)),
      thread_([this](const std::stop_token& stop) { watch(stop); }) {}

LogWatch::~LogWatch() {
  thread_.request_stop();
  thread_.join();
}

void LogWatch::watch(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    // True only when asked to stop; otherwise a period has passed.
    if (wake_.wait_for(lock, stop, kPeriod, [&stop] { return stop.stop_requested(); })) return;
    if (!follow()) return;
  }
}

bool LogWatch::follow() {
  try {
    filesystem_.refresh();
    failing_ = false;
  } catch (const base::Error& error) {
    if (error.code() == ESTALE) {
      superseded_();
      return false;
    }
    if (!std::exchange(failing_, true)) spdlog::error("the log cannot be read: {}", error.what());
  } catch (const std::exception& error) {
    if (!std::exchange(failing_, true)) spdlog::error("the log cannot be read: {}", error.what());
  }
  return true;
}

}  // namespace famfs::fuse
