// SPDX-License-Identifier: Apache-2.0
#include "fuse/identity_watch.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <exception>
#include <utility>

namespace famfs::fuse {
namespace {

constexpr std::chrono::seconds kPeriod{1};

}  // namespace

IdentityWatch::IdentityWatch(volume::Volume& volume, std::function<void()> superseded)
    : volume_(volume),
      superseded_(std::move(superseded)),
      thread_([this](const std::stop_token& stop) { watch(stop); }) {}

IdentityWatch::~IdentityWatch() {
  thread_.request_stop();
  thread_.join();
}

void IdentityWatch::watch(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    // True only when asked to stop; otherwise a second has passed.
    if (wake_.wait_for(lock, stop, kPeriod, [&stop] { return stop.stop_requested(); })) return;
    try {
      if (volume_.check_identity()) continue;
      superseded_();
      return;
    } catch (const std::exception& error) {
      spdlog::error("the identity of the file system cannot be checked: {}", error.what());
    }
  }
}

}  // namespace famfs::fuse
