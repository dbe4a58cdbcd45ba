// SPDX-License-Identifier: Apache-2.0
#include "plugin/unmapped_flushes.h"

#include <bit>
#include <vector>

namespace noncoherent {

void UnmappedFlushes::watch(Pages::iterator page) {
  by_entry_.emplace(page->entry, page);
  if (tables_[page->entry / kPageSize]++ == 0) ++generation_;
}

void UnmappedFlushes::unwatch(Pages::iterator page) {
  const auto [first, last] = by_entry_.equal_range(page->entry);
  for (auto found = first; found != last; ++found) {
    if (found->second == page) {
      by_entry_.erase(found);
      break;
    }
  }
  const auto table = tables_.find(page->entry / kPageSize);
  if (--table->second == 0) tables_.erase(table);
}

void UnmappedFlushes::add(unsigned processor, Flush flush, uint64_t root, uint64_t address,
                          uint64_t empty_entry) {
  const Key key{root, address / kPageSize * kPageSize, processor};
  auto found = by_address_.find(key);
  if (found == by_address_.end()) {
    if (pages_.size() == most_pages_) {
      const Page& oldest = pages_.front();
      by_address_.erase({oldest.root, oldest.address, oldest.processor});
      unwatch(pages_.begin());
      pages_.pop_front();
      ++forgotten_;
    }
    pages_.push_back({key.root, key.address, empty_entry, processor, {}});
    found = by_address_.emplace(key, std::prev(pages_.end())).first;
    watch(found->second);
  }
  const Mask line = Mask{1} << (address / kLineSize % kLinesPerPage);
  found->second->lines[static_cast<int>(flush)] |= line;
}

void UnmappedFlushes::entry_stored(uint64_t address, const ReadPhysical& read, const Do& perform) {
  std::vector<Pages::iterator> waiting;
  const auto [first, last] = by_entry_.equal_range(address / 8 * 8);
  for (auto found = first; found != last; ++found) waiting.push_back(found->second);
  for (const Pages::iterator page : waiting) {
    const Translation now = translate(page->root, page->address, read);
    if (!now.mapped && now.address == page->entry) continue;
    unwatch(page);
    page->entry = now.address;
    if (!now.mapped) {  // a table was put in, which is empty itself
      watch(page);
      continue;
    }
    const Page done = *page;
    by_address_.erase({done.root, done.address, done.processor});
    pages_.erase(page);
    for (int flush = 0; flush < 3; ++flush) {
      for (Mask lines = done.lines[flush]; lines != 0; lines &= lines - 1) {
        perform(done.processor, static_cast<Flush>(flush),
                now.address + std::countr_zero(lines) * kLineSize);
      }
    }
  }
}

}  // namespace noncoherent
