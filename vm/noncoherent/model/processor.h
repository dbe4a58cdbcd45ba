// SPDX-License-Identifier: Apache-2.0
// The flushes and fences of one processor of a host.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "model/cache.h"

namespace noncoherent {

// Sources: Intel SDM volume 2, CLFLUSH, CLFLUSHOPT, CLWB, SFENCE, MFENCE, LFENCE, WBINVD; volume 3,
// 9.2 (memory ordering) and 9.3 (serializing instructions).
//
// Thread safety: all functions may be called at once.
class Processor {
 public:
  Processor(Counters& counters, const Policy& policy) : counters_(counters), policy_(policy) {}

  void clwb(Cache& cache, uint64_t line) { add(cache, line, cache.write_back(line)); }
  void clflushopt(Cache& cache, uint64_t line) { add(cache, line, cache.invalidate(line, false)); }
  // Is ordered with stores, so what was dirty is in memory before any later store; a load may still
  // come first.
  void clflush(Cache& cache, uint64_t line) { add(cache, line, cache.invalidate(line, true)); }
  void store_around(Cache& cache, uint64_t offset, unsigned length);

  // SFENCE: orders stores, write-backs and invalidations with each other.
  void store_fence() { fence(false); }
  // MFENCE, instructions with LOCK, XCHG with memory, and those that serialise: loads too.
  void full_fence() { fence(true); }

  // Whether a fence would do anything.
  bool waiting() const {
    const std::lock_guard lock(mutex_);
    return !owed_.empty();
  }

 private:
  struct Place {
    Cache* cache;
    uint64_t line;
    bool operator==(const Place&) const = default;
  };
  // Beyond these, what was flushed first is completed without a fence, as a processor may.
  static constexpr size_t kMostOwed = 4096;

  void add(Cache& cache, uint64_t line, bool left);
  void fence(bool loads);
  void shuffle_locked();

  Counters& counters_;
  const Policy policy_;
  mutable std::mutex mutex_;  // before those of caches
  std::vector<Place> owed_;
};

}  // namespace noncoherent
