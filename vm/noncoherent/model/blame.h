// SPDX-License-Identifier: Apache-2.0
// Who stored, wrote back and loaded each line of a device, on all hosts, and which of that was
// wrong.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "model/line.h"

namespace noncoherent {

// A place in the guest's code: a number of the host's table of sites; 0 if it is not known.
using Site = uint32_t;

// Where the processor that this thread emulates is. Asked only when it matters.
class Whereabouts {
 public:
  virtual ~Whereabouts() = default;
  virtual Site site() = 0;
  // What it flushes here was not dirty, or not in the cache at all.
  virtual void flushes_in_vain() = 0;

  // Of this thread, for as long as the object lives; null elsewhere: devices, absent pages.
  static thread_local Whereabouts* current;
};

// Nanoseconds of CLOCK_MONOTONIC, which all hosts of one computer share.
using Time = uint64_t;

struct Event {
  enum Kind : uint16_t { kStored = 1, kFlushed, kCommitted, kFetched, kLoaded };

  Time time;
  Site site;
  uint16_t host;
  Kind kind;
};

// What all hosts know of a line. Lies in a file that they share, zeroed when it is made. Written
// under the device's lock of the line; single words are read without.
struct LineHistory {
  static constexpr size_t kEvents = 10;

  uint64_t version;  // how often bytes of the line have reached the device
  // Of the newest version: who wrote it, when it was stored last, and when it came.
  Time stored, flushed, committed;
  Site stored_at, flushed_at;
  uint16_t writer;
  // The host, plus one, that has stored to it what has not reached the device; else 0.
  uint16_t dirty;
  Site dirty_at;
  Site dirty_flushed_at;  // 0 if that was not flushed
  uint32_t events_seen;
  Time dirty_since;
  std::array<Event, kEvents> events;  // the last ones: number n is at n % kEvents
};
static_assert(sizeof(LineHistory) == 224);

enum class Wrong : uint32_t {
  // Another host's newer bytes are on the device, and this host loads what its cache has.
  stale_load = 1,
  // Another host has stored before what it announced, and not flushed that.
  not_written_back,
  // The same, flushed, but no fence has followed.
  not_fenced,
  // Another host has stored what announces it after it was flushed, and before that was complete.
  overtaken,
  // A line is written back with old bytes in place of another host's newer ones.
  overwritten,
};

// One pair of places, in one part of a device.
struct Finding {
  Wrong wrong;
  uint32_t device;
  uint64_t line;
  uint64_t times;  // how often; the rest is of the first time
  Time time;
  Site here;  // of the load, or of the store whose line was written back
  uint32_t other;
  Site stored_at, flushed_at;  // of the other host
  // Where this host has loaded what the other has announced, if it has.
  Site announced_at;
  uint64_t announced_line;
  uint32_t announced_device;
  uint32_t events_seen;
  std::array<Event, LineHistory::kEvents> events;
};
static_assert(sizeof(Finding) == 232);

// What was found by one host. Lies in a file that outlives the guest.
struct Findings {
  static constexpr size_t kMost = 4096;

  uint64_t count;
  uint64_t left_off;  // pairs of places beyond those
  std::array<Finding, kMost> found;
};

// What a host has learned of the others by its loads: up to when it knows what each has done.
class Announcements {
 public:
  struct Announcement {
    Time stored;  // by the other host
    Time loaded;  // by this one
    uint64_t line;
    uint32_t device;
    Site site;
  };
  static constexpr size_t kHosts = 64;

  void add(unsigned writer, const Announcement& announcement);
  // The newest of `writer`; its time is 0 if there is none.
  Announcement newest(unsigned writer) const;
  // One of `writer` that was stored in the open interval and loaded before `loaded`; or one of time
  // 0.
  Announcement between(unsigned writer, Time after, Time before, Time loaded) const;

 private:
  static constexpr size_t kKept = 32;
  struct Of {
    Announcement newest{};
    std::array<Announcement, kKept> kept{};
    size_t next = 0;
  };
  mutable std::mutex mutex_;
  std::array<Of, kHosts> of_{};
};

// One host's part in it for all its devices.
//
// A load is wrong if the line has newer bytes, of another host, that this host could know of: it
// has loaded something that the other stored later. It is wrong too if it repeats a load of a copy
// whose bytes were replaced more than a millisecond ago: who looks again and again without
// invalidating learns nothing. A first load of a copy that was just fetched is never that.
//
// Thread safety: all functions may be called at once.
class Blame {
 public:
  // `findings` outlives this object. `host` is below Announcements::kHosts.
  Blame(unsigned host, Findings& findings) : host_(host), findings_(findings) {}

  unsigned host() const { return host_; }
  Announcements& announcements() { return announcements_; }
  // Adds a finding, or counts it if the same pair of places was found before in the same 2 MiB of
  // the device, where one file is.
  void find(const Finding& finding);

 private:
  const unsigned host_;
  Announcements announcements_;
  std::mutex mutex_;  // of `findings_`
  Findings& findings_;
};

// One host's part in it for one device. `locked` functions are called with the device's lock of the
// line.
class DeviceBlame {
 public:
  // `lines` is of all lines of the device; both outlive this object.
  DeviceBlame(Blame& blame, unsigned device, std::span<LineHistory> lines);

  void stored_locked(uint64_t line, Mask which);
  // `changed`: the bytes in which it differs from what was fetched.
  void flushed_locked(uint64_t line, Mask changed);
  // What `which` names of `bytes` is about to replace what is `there`. `dirty_again`: it was
  // stored to since it was flushed.
  void committed_locked(uint64_t line, const Line& bytes, const std::byte* there, Mask which,
                        bool dirty_again);
  void fetched_locked(uint64_t line);
  // A load of bytes of the line; without a lock. Returns whether the rest, which needs the lock,
  // can be left out.
  bool loaded_as_before(uint64_t line) const;
  void loaded_locked(uint64_t line);

 private:
  // What this host has of a line.
  struct Known {
    std::atomic<uint64_t> version{0};
    std::atomic<bool> loaded{false};  // since it was fetched
    uint16_t writer = 0;              // of that version
    Time writer_stored = 0;
    Time fetched = 0;
    Site stored_at = 0, flushed_at = 0;
    Time stored = 0, flushed = 0;
    Mask bytes = 0;     // stored to since it was flushed
    Mask flushing = 0;  // those of a flush that is not complete
  };
  using KnownPage = std::array<Known, kLinesPerPage>;

  Known& known(uint64_t line);
  void note(LineHistory& history, Event::Kind kind, Site site);
  Finding finding(Wrong wrong, uint64_t line, const LineHistory& history) const;
  void tell(Finding found, const Announcements::Announcement& announcement);

  Blame& blame_;
  const unsigned device_;
  const std::span<LineHistory> lines_;
  std::unique_ptr<std::atomic<KnownPage*>[]> pages_;
  std::mutex mutex_;  // of `owned_`
  std::vector<std::unique_ptr<KnownPage>> owned_;
};

}  // namespace noncoherent
