// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "volume/volume.h"

namespace famfs::fuse {

// Compares the identity of the mounted file system with the device once a second, so that a file
// system made anew by another host is noticed without traffic: a store of another host to memory
// raises no event here. Reads one cache line each time.
class IdentityWatch {
 public:
  // `superseded` is called at most once, from the watch's own thread. `volume` outlives this.
  IdentityWatch(volume::Volume& volume, std::function<void()> superseded);
  IdentityWatch(const IdentityWatch&) = delete;
  IdentityWatch& operator=(const IdentityWatch&) = delete;
  // Waits for a call of `superseded` that is under way.
  ~IdentityWatch();

 private:
  void watch(const std::stop_token& stop);

  volume::Volume& volume_;
  std::function<void()> superseded_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses the members above
};

}  // namespace famfs::fuse
