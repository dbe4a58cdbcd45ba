// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace famfs::tree {

// Numbers (node ids, never 0) by the hash of what they stand for. A table with open addressing and
// 8 bytes a place, as a log of half a million files is played into it: std::unordered_map costs
// several cache misses a file there, and 64 bytes. The hashes are not kept; who owns what the
// numbers stand for tells them again. Not thread-safe.
class NameIndex {
 public:
  NameIndex() : places_(kFewest) {}

  // The number with that hash for which `is_it(number)` holds; 0 if there is none.
  template <typename IsIt>
  uint64_t find(size_t hash, IsIt is_it) const {
    for (size_t at = home(hash); places_[at] != 0; at = next(at)) {
      const uint64_t number = places_[at] & kNumber;
      if ((places_[at] ^ tag(hash)) <= kNumber && is_it(number)) return number;
    }
    return 0;
  }

  // Adds a number below 2^40 that is not there; `hash_of(number)` is asked when the table grows.
  template <typename HashOf>
  void insert(size_t hash, uint64_t number, HashOf hash_of) {
    if ((count_ + 1) * 4 > places_.size() * 3) resize(places_.size() * 2, hash_of);
    put(hash, number);
    ++count_;
  }

  // Removes a number that is there.
  template <typename HashOf>
  void erase(size_t hash, uint64_t number, HashOf hash_of) {
    size_t hole = home(hash);
    while ((places_[hole] & kNumber) != number) hole = next(hole);
    // What was put behind it because it was in the way moves up.
    for (size_t at = next(hole); places_[at] != 0; at = next(at)) {
      const size_t from = home(hash_of(places_[at] & kNumber));
      if (((at - from) & mask()) < ((at - hole) & mask())) continue;
      places_[hole] = places_[at];
      hole = at;
    }
    places_[hole] = 0;
    --count_;
  }

  // Makes room for that many numbers.
  template <typename HashOf>
  void reserve(size_t numbers, HashOf hash_of) {
    const size_t wanted = std::bit_ceil(numbers + numbers / 3 + 1);
    if (wanted > places_.size()) resize(wanted, hash_of);
  }

 private:
  static constexpr size_t kFewest = 16;
  static constexpr unsigned kNumberBits = 40;
  static constexpr uint64_t kNumber = (uint64_t{1} << kNumberBits) - 1;

  // The place comes from the low bits, so that the high ones tell apart what meets in one.
  static uint64_t tag(size_t hash) noexcept { return hash & ~kNumber; }
  size_t mask() const noexcept { return places_.size() - 1; }
  size_t home(size_t hash) const noexcept { return hash & mask(); }
  size_t next(size_t at) const noexcept { return (at + 1) & mask(); }

  void put(size_t hash, uint64_t number) {
    size_t at = home(hash);
    while (places_[at] != 0) at = next(at);
    places_[at] = tag(hash) | number;
  }

  template <typename HashOf>
  void resize(size_t size, HashOf hash_of) {
    std::vector<uint64_t> before(size);
    before.swap(places_);
    for (const uint64_t place : before) {
      if (place != 0) put(hash_of(place & kNumber), place & kNumber);
    }
  }

  std::vector<uint64_t> places_;  // tag and number, 0 for a free one; a power of two of them
  size_t count_ = 0;
};

}  // namespace famfs::tree
