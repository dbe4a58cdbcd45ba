// SPDX-License-Identifier: Apache-2.0
#include "model/processor.h"

#include <algorithm>
#include <random>

namespace noncoherent {

void Processor::add(Cache& cache, uint64_t line, bool left) {
  const Place place{&cache, line};
  const std::lock_guard lock(mutex_);
  if (!left || (!owed_.empty() && owed_.back() == place)) return;
  if (owed_.size() == kMostOwed) {
    counters_.early += owed_.size();
    for (const Place& first : owed_) first.cache->complete(first.line, true);
    owed_.clear();
  }
  owed_.push_back(place);
}

void Processor::store_around(Cache& cache, uint64_t offset, unsigned length) {
  const bool left = cache.stored_around(offset, length);
  for (uint64_t line = offset / kLineSize; line <= (offset + length - 1) / kLineSize; ++line) {
    add(cache, line, left);
  }
}

// The same lines, flushed in the same order, get the same order, whatever was before.
void Processor::shuffle_locked() {
  uint64_t seed = policy_.seed;
  for (const Place& place : owed_) seed = (seed ^ place.line) * 0x9e3779b97f4a7c15;
  std::mt19937_64 random(seed);
  std::shuffle(owed_.begin(), owed_.end(), random);
}

void Processor::fence(bool loads) {
  const std::lock_guard lock(mutex_);
  if (owed_.empty()) return;
  ++counters_.fences;
  if (policy_.shuffle) shuffle_locked();
  std::erase_if(owed_,
                [loads](const Place& place) { return !place.cache->complete(place.line, loads); });
}

}  // namespace noncoherent
