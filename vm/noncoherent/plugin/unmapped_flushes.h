// SPDX-License-Identifier: Apache-2.0
// Flushes of addresses that are not mapped yet.
//
// A processor faults on them, the system maps the page, and the instruction runs again. Under
// emulation they do nothing, so they are kept until the page is mapped, which is a store to the
// entry of a page table that was found empty: then, before the guest goes on, they are done.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <unordered_map>

#include "model/line.h"
#include "plugin/page_tables.h"

namespace noncoherent {

enum class Flush { write_back, invalidate, invalidate_ordered };  // CLWB, CLFLUSHOPT, CLFLUSH

// Not thread-safe, but for generation().
class UnmappedFlushes {
 public:
  // Does a flush of the line at a physical address, for the processor that asked for it.
  using Do = std::function<void(unsigned processor, Flush flush, uint64_t address)>;

  // Keeps at most so many pages; beyond that the oldest are forgotten, and counted.
  explicit UnmappedFlushes(size_t most_pages) : most_pages_(most_pages) {}

  // `empty_entry` is what translate() found for `address` below `root`.
  void add(unsigned processor, Flush flush, uint64_t root, uint64_t address, uint64_t empty_entry);

  // Whether a store to the page-table page that holds this physical address may matter.
  bool watches(uint64_t address) const { return tables_.contains(address / kPageSize); }
  // Changes when such a page begins to be watched: who has found it unwatched has to ask again.
  const std::atomic<uint64_t>& generation() const { return generation_; }
  // Something was stored to eight bytes at this physical address.
  void entry_stored(uint64_t address, const ReadPhysical& read, const Do& perform);

  size_t pages() const { return pages_.size(); }
  uint64_t forgotten() const { return forgotten_; }

 private:
  struct Page {
    uint64_t root, address, entry;
    unsigned processor;
    Mask lines[3] = {};  // by Flush
  };
  using Pages = std::list<Page>;  // oldest first
  struct Key {
    uint64_t root, address;
    unsigned processor;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    size_t operator()(const Key& key) const {
      return (key.root * 31 + key.address / kPageSize) * 0x9e3779b97f4a7c15 + key.processor;
    }
  };

  void watch(Pages::iterator page);
  void unwatch(Pages::iterator page);

  const size_t most_pages_;
  Pages pages_;
  std::unordered_map<Key, Pages::iterator, Hash> by_address_;
  std::unordered_multimap<uint64_t, Pages::iterator> by_entry_;
  std::unordered_map<uint64_t, size_t> tables_;  // page number: how many of pages_ wait for it
  std::atomic<uint64_t> generation_{0};
  uint64_t forgotten_ = 0;
};

}  // namespace noncoherent
