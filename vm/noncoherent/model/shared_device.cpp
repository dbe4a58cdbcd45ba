// SPDX-License-Identifier: Apache-2.0
#include "model/shared_device.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace noncoherent {

void LineLocks::prepare() {
  pthread_mutexattr_t attributes;
  int error = pthread_mutexattr_init(&attributes);
  if (error == 0) {
    error = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (error == 0) error = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    for (Stripe& stripe : stripes) {
      if (error == 0) error = pthread_mutex_init(&stripe.mutex, &attributes);
    }
    pthread_mutexattr_destroy(&attributes);
  }
  if (error != 0) throw std::system_error(error, std::generic_category(), "locks of lines");
  std::atomic_ref(ready).store(kReady, std::memory_order_release);
}

// The lines of a page have one lock, so a page is read under one.
class SharedDevice::Guard {
 public:
  Guard(SharedDevice& device, uint64_t page)
      : stripe(device.locks_.stripes[page % LineLocks::kStripes]) {
    const int error = pthread_mutex_lock(&stripe.mutex);
    if (error == EOWNERDEAD) {
      // Its bytes were all there before it began to write them.
      if (stripe.unfinished != 0) {
        const uint64_t start = (stripe.unfinished - 1) * kLineSize;
        std::memcpy(device.memory_.data() + start, stripe.bytes.data(), kLineSize);
        stripe.unfinished = 0;
      }
      pthread_mutex_consistent(&stripe.mutex);
    } else if (error != 0) {
      throw std::system_error(error, std::generic_category(), "lock of a line");
    }
  }
  ~Guard() { pthread_mutex_unlock(&stripe.mutex); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

  LineLocks::Stripe& stripe;
};

void SharedDevice::commit(uint64_t number, const Line& line, Mask which, const UnderLock& also) {
  Guard guard(*this, number / kLinesPerPage);
  std::byte* const place = memory_.data() + number * kLineSize;
  if (also) also(place);
  Line& whole = guard.stripe.bytes;
  if (which == kAll) {
    whole = line;
  } else {
    std::memcpy(whole.data(), place, kLineSize);
    for (unsigned i = 0; i < kLineSize; ++i) {
      if (which >> i & 1) whole[i] = line[i];
    }
  }
  // A kill comes between two instructions, so the order in the program is enough.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::atomic_ref(guard.stripe.unfinished).store(number + 1, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::memcpy(place, whole.data(), kLineSize);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::atomic_ref(guard.stripe.unfinished).store(0, std::memory_order_relaxed);
}

Line SharedDevice::fetch_line(uint64_t number, const UnderLock& also) {
  Guard guard(*this, number / kLinesPerPage);
  const std::byte* const place = memory_.data() + number * kLineSize;
  if (also) also(place);
  Line line;
  std::memcpy(line.data(), place, kLineSize);
  return line;
}

void SharedDevice::fetch_page(uint64_t number, Page& page, const UnderLock& also) {
  Guard guard(*this, number);
  const std::byte* const place = memory_.data() + number * kPageSize;
  if (also) also(place);
  std::memcpy(page.data(), place, kPageSize);
}

void SharedDevice::locked(uint64_t number, const UnderLock& body) {
  Guard guard(*this, number / kLinesPerPage);
  body(memory_.data() + number * kLineSize);
}

}  // namespace noncoherent
