// SPDX-License-Identifier: Apache-2.0
#include "model/blame.h"

#include <algorithm>
#include <ctime>

namespace noncoherent {
namespace {

// Longer than a processor of the guest is without one of this machine, as a rule.
constexpr Time kSuperseded = 1'000'000;

constexpr uint64_t kLinesOfAFile = (uint64_t{2} << 20) / kLineSize;

Time now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<Time>(time.tv_sec) * 1'000'000'000 + static_cast<Time>(time.tv_nsec);
}

Site here() { return Whereabouts::current == nullptr ? 0 : Whereabouts::current->site(); }

template <typename T>
T word(const T& value) {
  return std::atomic_ref(const_cast<T&>(value)).load(std::memory_order_relaxed);
}

template <typename T>
void set(T& value, T to) {
  std::atomic_ref(value).store(to, std::memory_order_relaxed);
}

}  // namespace

thread_local Whereabouts* Whereabouts::current = nullptr;

void Announcements::add(unsigned writer, const Announcement& announcement) {
  const std::lock_guard lock(mutex_);
  Of& of = of_[writer % kHosts];
  if (announcement.stored > of.newest.stored) of.newest = announcement;
  of.kept[of.next++ % kKept] = announcement;
}

Announcements::Announcement Announcements::newest(unsigned writer) const {
  const std::lock_guard lock(mutex_);
  return of_[writer % kHosts].newest;
}

Announcements::Announcement Announcements::between(unsigned writer, Time after, Time before,
                                                   Time loaded) const {
  const std::lock_guard lock(mutex_);
  for (const Announcement& one : of_[writer % kHosts].kept) {
    if (one.stored > after && one.stored < before && one.loaded < loaded) return one;
  }
  return {};
}

void Blame::find(const Finding& finding) {
  const std::lock_guard lock(mutex_);
  const auto end = findings_.found.begin() + static_cast<ptrdiff_t>(findings_.count);
  const auto same = std::find_if(findings_.found.begin(), end, [&](const Finding& one) {
    return one.wrong == finding.wrong && one.here == finding.here && one.other == finding.other &&
           one.stored_at == finding.stored_at && one.device == finding.device &&
           one.line / kLinesOfAFile == finding.line / kLinesOfAFile;
  });
  if (same != end) {
    ++same->times;
  } else if (findings_.count == Findings::kMost) {
    ++findings_.left_off;
  } else {
    findings_.found[findings_.count] = finding;
    // Who reads the file sees whole ones only.
    std::atomic_ref(findings_.count).store(findings_.count + 1, std::memory_order_release);
  }
}

DeviceBlame::DeviceBlame(Blame& blame, unsigned device, std::span<LineHistory> lines)
    : blame_(blame),
      device_(device),
      lines_(lines),
      pages_(std::make_unique<std::atomic<KnownPage*>[]>(lines.size() / kLinesPerPage)) {}

DeviceBlame::Known& DeviceBlame::known(uint64_t line) {
  std::atomic<KnownPage*>& page = pages_[line / kLinesPerPage];
  if (page.load(std::memory_order_acquire) == nullptr) {
    const std::lock_guard lock(mutex_);
    if (page.load() == nullptr) {
      owned_.push_back(std::make_unique<KnownPage>());
      page.store(owned_.back().get(), std::memory_order_release);
    }
  }
  return (*page.load(std::memory_order_acquire))[line % kLinesPerPage];
}

void DeviceBlame::note(LineHistory& history, Event::Kind kind, Site site) {
  history.events[history.events_seen++ % LineHistory::kEvents] = {
      now(), site, static_cast<uint16_t>(blame_.host()), kind};
}

Finding DeviceBlame::finding(Wrong wrong, uint64_t line, const LineHistory& history) const {
  Finding found{};
  found.wrong = wrong;
  found.device = device_;
  found.line = line;
  found.times = 1;
  found.time = now();
  found.here = here();
  found.other = history.writer;
  found.stored_at = history.stored_at;
  found.flushed_at = history.flushed_at;
  found.events_seen = history.events_seen;
  found.events = history.events;
  return found;
}

void DeviceBlame::stored_locked(uint64_t line, Mask which) {
  Known& mine = known(line);
  LineHistory& history = lines_[line];
  const Site site = here();
  const bool again = mine.bytes != 0 && mine.stored_at == site;
  mine.bytes |= which;
  mine.stored = now();
  mine.stored_at = site;
  if (again) return;  // the next word of a copy
  note(history, Event::kStored, site);
  if (history.dirty != 0) return;
  history.dirty_at = site;
  history.dirty_flushed_at = 0;
  history.dirty_since = mine.stored;
  set(history.dirty, static_cast<uint16_t>(blame_.host() + 1));
}

void DeviceBlame::flushed_locked(uint64_t line, Mask changed) {
  Known& mine = known(line);
  LineHistory& history = lines_[line];
  mine.flushed = now();
  mine.flushed_at = here();
  if (mine.bytes == 0) mine.stored = mine.flushed;  // by a device, or to a stack
  mine.flushing |= mine.bytes | changed;
  mine.bytes = 0;
  if (history.dirty == blame_.host() + 1) history.dirty_flushed_at = mine.flushed_at;
  note(history, Event::kFlushed, mine.flushed_at);
}

void DeviceBlame::committed_locked(uint64_t line, const Line& bytes, const std::byte* there,
                                   Mask which, bool dirty_again) {
  Known& mine = known(line);
  LineHistory& history = lines_[line];
  if (mine.version != history.version && history.writer != blame_.host()) {
    for (unsigned i = 0; i < kLineSize; ++i) {
      const bool reverts = (which & ~mine.flushing) >> i & 1 && bytes[i] != there[i];
      if (!reverts) continue;
      Finding found = finding(Wrong::overwritten, line, history);
      found.here = mine.stored_at;
      blame_.find(found);
      break;
    }
  }
  history.stored = mine.stored;
  history.stored_at = mine.stored_at;
  history.flushed = mine.flushed;
  history.flushed_at = mine.flushed_at;
  history.committed = now();
  history.writer = static_cast<uint16_t>(blame_.host());
  set(history.version, history.version + 1);
  note(history, Event::kCommitted, mine.flushed_at);
  mine.flushing = 0;
  mine.version = history.version;
  mine.writer = history.writer;
  mine.loaded = true;
  if (history.dirty != blame_.host() + 1) return;
  if (dirty_again) {
    history.dirty_at = mine.stored_at;
    history.dirty_since = mine.stored;
    history.dirty_flushed_at = 0;
  } else {
    set(history.dirty, uint16_t{0});
  }
}

void DeviceBlame::fetched_locked(uint64_t line) {
  const LineHistory& history = lines_[line];
  Known& mine = known(line);
  if (mine.version != history.version) note(lines_[line], Event::kFetched, here());
  mine.version = history.version;
  mine.writer = history.writer;
  mine.writer_stored = history.stored;
  mine.fetched = now();
  mine.loaded = false;
}

bool DeviceBlame::loaded_as_before(uint64_t line) const {
  const LineHistory& history = lines_[line];
  const uint16_t dirty = word(history.dirty);
  if (dirty != 0 && dirty != blame_.host() + 1) return false;
  const uint64_t version = word(history.version);
  const KnownPage* const page = pages_[line / kLinesPerPage].load(std::memory_order_acquire);
  if (page == nullptr) return false;
  const Known& mine = (*page)[line % kLinesPerPage];
  return mine.version == version && mine.loaded;
}

void DeviceBlame::loaded_locked(uint64_t line) {
  Known& mine = known(line);
  LineHistory& history = lines_[line];
  const unsigned host = blame_.host();
  const bool first = !mine.loaded.exchange(true);
  if (history.version == 0 && history.dirty == 0) return;  // nobody has ever stored to it
  if (first) {
    const Site site = here();
    note(history, Event::kLoaded, site);
    if (mine.version != 0 && mine.writer != host) {
      if (mine.version == history.version) {
        const auto early = blame_.announcements().between(mine.writer, history.flushed,
                                                          history.committed, mine.fetched);
        if (early.stored != 0 && (early.line != line || early.device != device_)) {
          tell(finding(Wrong::overtaken, line, history), early);
        }
      }
      blame_.announcements().add(mine.writer, {mine.writer_stored, now(), line, device_, site});
    }
  }
  if (mine.version != history.version && history.writer != host) {
    const auto newest = blame_.announcements().newest(history.writer);
    const bool announced = newest.stored > history.stored;
    // Fetched after an announcement and not there yet: the other host's fault, if no later one came
    // when it was.
    const auto early = blame_.announcements().between(history.writer, history.stored,
                                                      history.committed, mine.fetched);
    if (early.stored != 0 && newest.stored < history.committed) {
      tell(finding(Wrong::overtaken, line, history), early);
    } else if (announced || (!first && now() - history.committed > kSuperseded)) {
      tell(finding(Wrong::stale_load, line, history),
           announced ? newest : Announcements::Announcement{});
    }
  }
  if (history.dirty != 0 && history.dirty != host + 1) {
    const auto newest = blame_.announcements().newest(history.dirty - 1u);
    if (newest.stored <= history.dirty_since) return;
    const bool flushed = history.dirty_flushed_at != 0;
    Finding found = finding(flushed ? Wrong::not_fenced : Wrong::not_written_back, line, history);
    found.other = history.dirty - 1u;
    found.stored_at = history.dirty_at;
    found.flushed_at = history.dirty_flushed_at;
    tell(found, newest);
  }
}

void DeviceBlame::tell(Finding found, const Announcements::Announcement& announcement) {
  found.announced_at = announcement.site;
  found.announced_line = announcement.line;
  found.announced_device = announcement.device;
  blame_.find(found);
}

}  // namespace noncoherent
