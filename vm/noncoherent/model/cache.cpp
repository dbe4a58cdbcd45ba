// SPDX-License-Identifier: Apache-2.0
#include "model/cache.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace noncoherent {
namespace {

constexpr size_t kRecent = 256;

using Word = uint64_t;
constexpr unsigned kWordsPerLine = kLineSize / sizeof(Word);

std::atomic_ref<Word> word(std::byte* line, unsigned index) {
  return std::atomic_ref(reinterpret_cast<Word*>(line)[index]);  // lines are aligned
}

void flushed_in_vain() {
  if (Whereabouts::current != nullptr) Whereabouts::current->flushes_in_vain();
}

Mask bit(uint64_t line) { return Mask{1} << (line % kLinesPerPage); }

// Tells of the one or two lines in which 1..64 bytes lie, and of which bytes of each.
template <typename Tell>
void each_line(uint64_t offset, unsigned length, const Tell& tell) {
  const uint64_t line = offset / kLineSize;
  const unsigned start = offset % kLineSize;
  const unsigned here = std::min<unsigned>(length, kLineSize - start);
  tell(line, bits(start, here));
  if (here < length) tell(line + 1, bits(0, length - here));
}

}  // namespace

Cache::Cache(unsigned number, SharedDevice& device, Frames& frames, const Policy& policy,
             Counters& counters, Gate* gate, DeviceBlame* blame)
    : number_(number),
      device_(device),
      frames_(frames),
      memory_(frames.data()),
      policy_(policy),
      counters_(counters),
      gate_(gate),
      blame_(blame),
      parts_(std::make_unique<std::atomic<Part*>[]>(device.pages() / kPagesPerPart + 1)),
      random_(policy.seed * 0x9e3779b97f4a7c15 + number) {}

Cache::~Cache() = default;

// Only if somebody looks for blame; with the device's lock of the line.
template <typename Body>
void Cache::tell_blame(uint64_t line, const Body& body) {
  if (blame_ != nullptr) device_.locked(line, [&](const std::byte*) { body(*blame_); });
}

Cache::PageState* Cache::find(uint64_t page) {
  Part* const part = parts_[page / kPagesPerPart].load(std::memory_order_acquire);
  return part == nullptr ? nullptr : &(*part)[page % kPagesPerPart];
}

Cache::PageState* Cache::present_locked(uint64_t page) {
  PageState* const found = find(page);
  return found != nullptr && found->base ? found : nullptr;
}

std::byte* Cache::here(uint64_t line) { return memory_ + line * kLineSize; }

std::byte* Cache::base_of(const PageState& page, uint64_t line) {
  return page.base->data() + line % kLinesPerPage * kLineSize;
}

void Cache::fill(uint64_t page) {
  const std::lock_guard lock(mutex_);
  if (present_locked(page) != nullptr) {  // two processors touched it at once
    frames_.wake(page);
    return;
  }
  make_room_locked();
  if (find(page) == nullptr) {
    owned_parts_.push_back(std::make_unique<Part>());
    parts_[page / kPagesPerPart].store(owned_parts_.back().get(), std::memory_order_release);
  }
  if (gate_ != nullptr) gate_->fetch(number_, page * kLinesPerPage, kLinesPerPage);
  PageState& state = *find(page);
  auto base = std::make_unique<Page>();
  if (blame_ == nullptr) {
    device_.fetch_page(page, *base);
  } else {
    device_.fetch_page(page, *base, [&](const std::byte*) {
      for (unsigned i = 0; i < kLinesPerPage; ++i) {
        blame_->fetched_locked(page * kLinesPerPage + i);
      }
    });
  }
  ++counters_.fills;
  state.base = std::move(base);
  state.turn = turns_++;
  pages_.emplace(state.turn, page);
  frames_.install(page, *state.base);
}

// The bytes of a line in which it differs from its base.
Mask Cache::differing(const PageState& page, uint64_t line) {
  const std::byte* const base = base_of(page, line);
  Mask found = 0;
  for (unsigned i = 0; i < kWordsPerLine; ++i) {
    const Word now = word(here(line), i).load(std::memory_order_relaxed);
    Word then;
    std::memcpy(&then, base + i * sizeof(Word), sizeof(Word));
    for (unsigned byte = 0; now != then && byte < sizeof(Word); ++byte) {
      if ((now ^ then) >> (8 * byte) & 0xff) found |= Mask{1} << (i * sizeof(Word) + byte);
    }
  }
  return found;
}

Line Cache::bytes_of(uint64_t line) {
  Line bytes;
  for (unsigned i = 0; i < kWordsPerLine; ++i) {
    const Word now = word(here(line), i).load(std::memory_order_relaxed);
    std::memcpy(bytes.data() + i * sizeof(Word), &now, sizeof(Word));
  }
  return bytes;
}

// If the line is dirty: takes its bytes, which become its base. What is stored from here on makes
// it dirty again: the bit goes before the bytes are read.
bool Cache::capture_locked(PageState& page, uint64_t line, Line& bytes) {
  const bool modified = page.modified.fetch_and(~bit(line)) & bit(line);
  const Mask changed = modified && blame_ == nullptr ? kAll : differing(page, line);
  if (!modified && changed == 0) return false;
  tell_blame(line, [&](DeviceBlame& blame) { blame.flushed_locked(line, changed); });
  bytes = bytes_of(line);
  std::memcpy(base_of(page, line), bytes.data(), kLineSize);
  return true;
}

void Cache::commit_locked(uint64_t line, const Line& bytes, Mask which) {
  if (gate_ != nullptr) gate_->commit({number_, line, bytes, which}, *this);
  ++counters_.commits;
  if (blame_ == nullptr) return device_.commit(line, bytes, which);
  const bool again = find(line / kLinesPerPage)->modified.load() & bit(line);
  device_.commit(line, bytes, which, [&](const std::byte* there) {
    blame_->committed_locked(line, bytes, there, which, again);
  });
}

void Cache::each(const Tell& tell) {
  for (const auto& [turn, number] : pages_) {
    const PageState& page = *find(number);
    const Mask owed = page.owed.load(), modified = page.modified.load();
    for (Mask left = owed | modified; left != 0; left &= left - 1) {
      const uint64_t line = number * kLinesPerPage + std::countr_zero(left);
      if (owed & bit(line)) {
        const Owed& flushed = (*page.owing)[line % kLinesPerPage];
        if (flushed.commit != 0) tell(line, flushed.bytes, flushed.commit);
      }
      if (modified & bit(line)) tell(line, bytes_of(line), kAll);
    }
  }
}

// The line as the device has it now, but for the bytes `except` and those that are stored
// meanwhile.
void Cache::refetch_locked(PageState& page, uint64_t line, Mask except) {
  if (gate_ != nullptr) gate_->fetch(number_, line, 1);
  const Line fresh =
      blame_ == nullptr
          ? device_.fetch_line(line)
          : device_.fetch_line(line, [&](const std::byte*) { blame_->fetched_locked(line); });
  std::byte* const base = base_of(page, line);
  if (std::memcmp(base, fresh.data(), kLineSize) == 0) return;
  ++counters_.refreshed;
  for (unsigned i = 0; i < kWordsPerLine; ++i) {
    Word then, wanted;
    std::memcpy(&then, base + i * sizeof(Word), sizeof(Word));
    std::memcpy(&wanted, fresh.data() + i * sizeof(Word), sizeof(Word));
    Word now = word(here(line), i).load(std::memory_order_relaxed);
    Word merged;
    do {
      Word keep = 0;
      for (unsigned byte = 0; byte < sizeof(Word); ++byte) {
        const Word mask = Word{0xff} << (8 * byte);
        const bool stored = except >> (i * sizeof(Word) + byte) & 1;
        if (stored || ((now ^ then) & mask) != 0) keep |= mask;
      }
      merged = (now & keep) | (wanted & ~keep);
    } while (!word(here(line), i).compare_exchange_weak(now, merged));
  }
  std::memcpy(base, fresh.data(), kLineSize);
}

// What a line is owed, from here on if nothing yet.
Cache::Owed& Cache::owe(PageState& page, uint64_t line) {
  if (!page.owing) page.owing = spare_ ? std::move(spare_) : std::make_unique<OwedLines>();
  page.owed.fetch_or(bit(line));
  return owed(page, line);
}

// Of one that is.
Cache::Owed& Cache::owed(PageState& page, uint64_t line) {
  return (*page.owing)[line % kLinesPerPage];
}

// The same, which it is no longer.
Cache::Owed Cache::take_owed(PageState& page, uint64_t line) {
  const Owed taken = std::exchange(owed(page, line), Owed{});
  if (page.owed.fetch_and(~bit(line)) == bit(line)) spare_ = std::move(page.owing);
  return taken;
}

// Does all that a line is owed, now.
void Cache::settle_locked(PageState& page, uint64_t line, Mask except) {
  if (!(page.owed.load() & bit(line))) return;
  const Owed owed = take_owed(page, line);
  if (owed.commit != 0) commit_locked(line, owed.bytes, owed.commit);
  if (owed.refetch) refetch_locked(page, line, except);
}

void Cache::store_to_line(uint64_t line, Mask which) {
  PageState* const page = find(line / kLinesPerPage);
  if (page == nullptr) return;
  if (gate_ != nullptr) ++stores_;
  tell_blame(line, [&](DeviceBlame& blame) { blame.stored_locked(line, which); });
  // The exchange also keeps the store, which came before, from being seen later than the bit.
  const bool first = !(page->modified.fetch_or(bit(line)) & bit(line));
  const bool is_owed = page->owed.load() & bit(line);
  if (!is_owed && !(first && policy_.evictions != 0)) return;
  const std::lock_guard lock(mutex_);
  if (PageState* const present = present_locked(line / kLinesPerPage)) {
    // A flush that a later store of the same line meets was before it: the store sees its line.
    const bool still = present->owed.load() & bit(line);
    if (still && owed(*present, line).refetch) settle_locked(*present, line, which);
  }
  if (!first || policy_.evictions == 0) return;
  if (recent_.size() < kRecent) {
    recent_.push_back(line);
  } else {
    recent_[random_() % kRecent] = line;
  }
  maybe_evict_locked();
}

void Cache::stored(uint64_t offset, unsigned length) {
  each_line(offset, length, [this](uint64_t line, Mask which) { store_to_line(line, which); });
}

void Cache::loaded(uint64_t offset, unsigned length) {
  each_line(offset, length, [this](uint64_t line, Mask) {
    if (blame_->loaded_as_before(line)) return;
    tell_blame(line, [&](DeviceBlame& blame) { blame.loaded_locked(line); });
  });
}

bool Cache::write_back(uint64_t line) {
  const std::lock_guard lock(mutex_);
  PageState* const page = present_locked(line / kLinesPerPage);
  Line bytes;
  if (page == nullptr || !capture_locked(*page, line, bytes)) {
    ++counters_.idle_write_backs;
    flushed_in_vain();
    maybe_evict_locked();
    return page != nullptr && page->owed.load() & bit(line);
  }
  ++counters_.write_backs;
  if (!policy_.strict()) {
    commit_locked(line, bytes, kAll);
    return false;
  }
  Owed& owed = owe(*page, line);
  owed.bytes = bytes;
  owed.commit = kAll;
  maybe_evict_locked();
  return true;
}

bool Cache::invalidate(uint64_t line, bool at_once) {
  const std::lock_guard lock(mutex_);
  PageState* const page = present_locked(line / kLinesPerPage);
  if (page == nullptr) {
    ++counters_.idle_invalidations;
    flushed_in_vain();
    return false;
  }
  ++counters_.invalidations;
  Line bytes;
  const bool dirty = capture_locked(*page, line, bytes);
  if (!policy_.strict()) {
    if (dirty) commit_locked(line, bytes, kAll);
    if (!drop_if_clean_locked(line / kLinesPerPage)) refetch_locked(*page, line, 0);
    return false;
  }
  Owed& owed = owe(*page, line);
  if (dirty) {
    owed.bytes = bytes;
    owed.commit = kAll;
  }
  owed.refetch = true;
  if (at_once && owed.commit != 0) {
    const Mask which = owed.commit;
    owed.commit = 0;
    const Line now = owed.bytes;
    commit_locked(line, now, which);
  }
  maybe_evict_locked();
  return true;
}

bool Cache::complete(uint64_t line, bool loads) {
  const std::lock_guard lock(mutex_);
  PageState* const page = present_locked(line / kLinesPerPage);
  if (page == nullptr || !(page->owed.load() & bit(line))) return false;
  Owed& found = owed(*page, line);
  if (loads || found.around || !found.refetch) {
    settle_locked(*page, line, 0);
    return false;
  }
  const Mask which = std::exchange(found.commit, 0);
  if (which != 0) commit_locked(line, found.bytes, which);
  return true;
}

bool Cache::stored_around(uint64_t offset, unsigned length) {
  bool left = false;
  each_line(offset, length,
            [&](uint64_t line, Mask which) { left = store_line_around(line, which) || left; });
  return left;
}

// Adds bytes of the line as they are now to what is to reach the device.
void Cache::take_bytes(PageState& page, uint64_t line, Mask which, Owed& owed) {
  std::byte* const now = here(line);
  std::byte* const base = base_of(page, line);
  for (Mask left = which; left != 0; left &= left - 1) {
    const int byte = std::countr_zero(left);
    owed.bytes[byte] = base[byte] = std::atomic_ref(now[byte]).load(std::memory_order_relaxed);
  }
  owed.commit |= which;
}

// Such a store leaves the cache at once but reaches memory with a fence only; what else was dirty
// in its line goes with it (SDM volume 1, 10.4.6.2).
bool Cache::store_line_around(uint64_t line, Mask which) {
  const std::lock_guard lock(mutex_);
  PageState* const page = present_locked(line / kLinesPerPage);
  if (page == nullptr) return false;
  ++counters_.non_temporal;
  tell_blame(line, [&](DeviceBlame& blame) { blame.stored_locked(line, which); });
  if (gate_ != nullptr) ++stores_;
  Owed& owed = owe(*page, line);
  const bool modified = page->modified.load() & bit(line);
  if (owed.around && !modified) {  // the next part of a copy: the rest of the line is taken already
    tell_blame(line, [&](DeviceBlame& blame) { blame.flushed_locked(line, which); });
    take_bytes(*page, line, which, owed);
    maybe_evict_locked();
    return true;
  }
  const Mask others = modified ? kAll : differing(*page, line) & ~which;
  Line now;
  page->modified.fetch_or(bit(line));  // so that it is captured though it may be as its base
  capture_locked(*page, line, now);
  for (unsigned i = 0; i < kLineSize; ++i) {
    if ((which | others) >> i & 1) owed.bytes[i] = now[i];
  }
  owed.commit |= which | others;
  owed.around = true;
  owed.refetch = true;
  if (policy_.strict()) {
    maybe_evict_locked();
    return true;
  }
  settle_locked(*page, line, 0);
  return false;
}

void Cache::stored_beside_others(uint64_t offset, unsigned length, const std::byte* value) {
  stored(offset, length);
  const std::lock_guard lock(mutex_);
  for (unsigned i = 0; i < length; ++i) {
    const uint64_t at = offset + i;
    const uint64_t line = at / kLineSize;
    PageState* const page = present_locked(line / kLinesPerPage);
    if (page == nullptr) continue;
    const std::byte fetched = base_of(*page, line)[at % kLineSize];
    if (fetched == value[i]) continue;
    std::byte expected = fetched;
    std::byte& place = memory_[at];
    std::atomic_ref(place).compare_exchange_strong(expected, value[i]);
  }
}

// The line reaches the device if it is dirty.
void Cache::write_back_line_locked(PageState& page, uint64_t line) {
  Line bytes;
  if (capture_locked(page, line, bytes)) commit_locked(line, bytes, kAll);
}

// All that is dirty in the page, and what its lines are owed, reaches the device.
void Cache::write_back_page_locked(PageState& page, uint64_t number) {
  for (uint64_t line = number * kLinesPerPage; line < (number + 1) * kLinesPerPage; ++line) {
    if (page.owed.load() & bit(line)) {
      owed(page, line).refetch = false;
      settle_locked(page, line, 0);
    }
    write_back_line_locked(page, line);
  }
}

// A page leaves that is held and of which nothing is dirty.
void Cache::leave_locked(PageState& page, uint64_t number) {
  pages_.erase(page.turn);
  page.base.reset();
  frames_.discard(number);
  ++counters_.dropped;
}

// A present page leaves.
void Cache::drop_locked(uint64_t number) {
  PageState& page = *find(number);
  frames_.hold(number);
  write_back_page_locked(page, number);
  leave_locked(page, number);
}

bool Cache::clean(const PageState& page, uint64_t number) {
  if (page.modified.load() != 0 || page.owed.load() != 0) return false;
  for (uint64_t line = number * kLinesPerPage; line < (number + 1) * kLinesPerPage; ++line) {
    if (differing(page, line) != 0) return false;
  }
  return true;
}

bool Cache::drop_if_clean_locked(uint64_t number) {
  PageState& page = *find(number);
  if (!clean(page, number)) return false;
  frames_.hold(number);
  if (!clean(page, number)) {
    frames_.release(number);
    return false;
  }
  leave_locked(page, number);
  return true;
}

void Cache::make_room_locked() {
  while (pages_.size() >= policy_.capacity / kPageSize) {
    drop_locked(pages_.begin()->second);
    ++counters_.evicted;
  }
}

void Cache::maybe_evict_locked() {
  if (policy_.evictions == 0 || random_() % 1024 >= policy_.evictions) return;
  if (!recent_.empty() && random_() % 4 != 0) {
    const size_t chosen = random_() % recent_.size();
    evict_locked(recent_[chosen]);
    recent_[chosen] = recent_.back();
    recent_.pop_back();
  } else if (!pages_.empty()) {
    // Pages that left by themselves are gaps in the turns: the next one stands for them.
    const uint64_t first = pages_.begin()->first, last = pages_.rbegin()->first;
    const auto chosen = pages_.lower_bound(first + random_() % (last - first + 1));
    evict_locked(chosen->second * kLinesPerPage + random_() % kLinesPerPage);
  }
}

// The line leaves, and comes back as if it was touched at once.
void Cache::evict_locked(uint64_t line) {
  PageState* const page = present_locked(line / kLinesPerPage);
  if (page == nullptr) return;
  settle_locked(*page, line, 0);
  write_back_line_locked(*page, line);
  refetch_locked(*page, line, 0);
  ++counters_.evicted;
}

void Cache::write_back_and_invalidate_all() {
  const std::lock_guard lock(mutex_);
  while (!pages_.empty()) drop_locked(pages_.begin()->second);
  recent_.clear();
}

}  // namespace noncoherent
