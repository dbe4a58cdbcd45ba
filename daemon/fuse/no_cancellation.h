// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>

namespace famfs::fuse {

// libfuse cancels threads that wait for messages; one that has got a message must end its work.
class NoCancellation {
 public:
  NoCancellation() { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  NoCancellation(const NoCancellation&) = delete;
  NoCancellation& operator=(const NoCancellation&) = delete;
  ~NoCancellation() { pthread_setcancelstate(before_, nullptr); }

 private:
  int before_ = 0;
};

}  // namespace famfs::fuse
