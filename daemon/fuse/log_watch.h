// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "fuse/filesystem.h"

namespace famfs::fuse {

// Follows the log twenty times a second, so that new entries are here soon also where nobody looks
// a name up, and a file system made anew by another host is noticed: a store of another host to
// memory raises no event here. Reads two cache lines each time when nothing is new, however long
// the log is.
class LogWatch {
 public:
  // `superseded` is called at most once, from the watch's own thread. `filesystem` outlives this.
  LogWatch(Filesystem& filesystem, std::function<void()> superseded);
  LogWatch(const LogWatch&) = delete;
  LogWatch& operator=(const LogWatch&) = delete;
  // Waits for a call of `superseded` that is under way.
  ~LogWatch();

 private:
  void watch(const std::stop_token& stop);
  // False when there is nothing left to follow.
  bool follow();

  Filesystem& filesystem_;
  std::function<void()> superseded_;
  bool failing_ = false;  // the last time; said once
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses the members above
};

}  // namespace famfs::fuse
