// SPDX-License-Identifier: Apache-2.0
// What one host's caches have done: evidence of each test.
#pragma once

#include <atomic>
#include <cstdint>

namespace noncoherent {

// Lies in a file, so that it outlives a guest that is killed. All functions of the model add to it;
// anyone may read it at any time.
struct Counters {
  std::atomic<uint64_t> fills{0};               // pages fetched because they were touched
  std::atomic<uint64_t> commits{0};             // lines, or parts of them, that reached the device
  std::atomic<uint64_t> write_backs{0};         // CLWB of a dirty line
  std::atomic<uint64_t> idle_write_backs{0};    // CLWB of a line that is not dirty or not here
  std::atomic<uint64_t> invalidations{0};       // CLFLUSH and CLFLUSHOPT of a line that is here
  std::atomic<uint64_t> idle_invalidations{0};  // of a line that is not here
  std::atomic<uint64_t> refreshed{0};           // lines that were fetched again and had changed
  std::atomic<uint64_t> non_temporal{0};        // lines stored around the cache
  std::atomic<uint64_t> evicted{0};             // lines that left by the policy's choice
  std::atomic<uint64_t> dropped{0};             // pages that left
  std::atomic<uint64_t> early{0};               // flushes done before their fence, to bound memory
  std::atomic<uint64_t> fences{0};              // fences that found something to do
  std::atomic<uint64_t> unmapped{0};            // flushes of addresses that were not mapped yet
  std::atomic<uint64_t> forgotten{0};           // pages of them, of too many that were never mapped
};

}  // namespace noncoherent
