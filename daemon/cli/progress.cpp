// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "base/size_units.h"

namespace famfs::cli {

Progress::Progress(std::string what, std::uint64_t total_bytes)
    : what_(std::move(what)), total_(total_bytes), terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (terminal_ && shown_ != start_) std::fputs("\r\033[K", stderr);
}

void Progress::add(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  done_ += bytes;
  const Clock::time_point now = Clock::now();
  if (!terminal_ || now - shown_ < std::chrono::seconds(1)) return;
  shown_ = now;
  fmt::print(stderr, "\r\033[K{}: {} of {}, {:.1f} s", what_, base::human_size(done_),
             base::human_size(total_), std::chrono::duration<double>(now - start_).count());
  std::fflush(stderr);
}

}  // namespace famfs::cli
