// SPDX-License-Identifier: Apache-2.0
// One host's cache of one device.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "model/blame.h"
#include "model/counters.h"
#include "model/frames.h"
#include "model/gate.h"
#include "model/line.h"
#include "model/policy.h"
#include "model/shared_device.h"

namespace noncoherent {

// The host's loads and stores go to `frames` by themselves; the model is told of stores after they
// were done, and of flushes and fences (through Processor) as the host executes them. It keeps, of
// each page that is present, the bytes as they last were the device's (the base).
//
// A line is dirty if it was stored to since, whatever was stored: so it is written back also when
// it holds what a base that is long stale holds. A line that differs from its base is dirty too:
// that is what devices of the machine store.
//
// Thread safety: all functions may be called at once from several threads. A function that blocks
// in the gate blocks the others.
class Cache final : private DirtyLines {
 public:
  // All but the policy outlive this object. `number` is what the gate is told of the device. Null:
  // nobody holds what passes; nobody looks for who is to blame.
  Cache(unsigned number, SharedDevice& device, Frames& frames, const Policy& policy,
        Counters& counters, Gate* gate, DeviceBlame* blame = nullptr);
  ~Cache() override;
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  // The host touches an absent page.
  void fill(uint64_t page);
  // The host has stored `length` bytes at `offset`; 1..64 bytes that may lie in two lines.
  void stored(uint64_t offset, unsigned length);
  // As stored(), when several processors run: puts bytes back that a line fetched at the same
  // moment has replaced.
  void stored_beside_others(uint64_t offset, unsigned length, const std::byte* value);

  // The host has loaded 1..64 bytes; told only for who looks for blame.
  void loaded(uint64_t offset, unsigned length);

  // CLWB. Returns whether something is left for a fence.
  bool write_back(uint64_t line);
  // CLFLUSH (`at_once`) and CLFLUSHOPT. Returns whether something is left for a fence.
  bool invalidate(uint64_t line, bool at_once);
  // A non-temporal store was done. Returns whether something is left for a fence.
  bool stored_around(uint64_t offset, unsigned length);
  // A fence follows what was done to the line. `loads`: it orders loads too. Returns whether
  // something is left for one that does.
  bool complete(uint64_t line, bool loads);
  // WBINVD: everything that is dirty reaches the device, and nothing stays.
  void write_back_and_invalidate_all();

 private:
  // What fences still have to do for a line.
  struct Owed {
    Line bytes;            // what it held when it was flushed
    Mask commit = 0;       // the bytes that are to reach the device
    bool refetch = false;  // and then it is invalid
    bool around = false;   // stored around the cache: any fence completes it
  };
  using OwedLines = std::array<Owed, kLinesPerPage>;

  struct PageState {
    std::atomic<Mask> modified{0};     // lines stored to since they were last captured
    std::atomic<Mask> owed{0};         // lines for which `owing` has something
    std::unique_ptr<Page> base;        // of a present page
    std::unique_ptr<OwedLines> owing;  // while a line is owed something
    uint64_t turn = 0;                 // the key in pages_ of a present page
  };
  static constexpr uint64_t kPagesPerPart = 512;
  using Part = std::array<PageState, kPagesPerPart>;

  // Called by the gate, and so with mutex_ held.
  uint64_t stores() const override { return stores_.load(); }
  void each(const Tell& tell) override;

  // Ones for which the caller holds mutex_ say "locked".
  PageState* find(uint64_t page);  // null if it was never present
  PageState* present_locked(uint64_t page);
  std::byte* here(uint64_t line);
  Line bytes_of(uint64_t line);
  static std::byte* base_of(const PageState& page, uint64_t line);
  Mask differing(const PageState& page, uint64_t line);
  bool clean(const PageState& page, uint64_t number);
  bool capture_locked(PageState& page, uint64_t line, Line& bytes);
  void commit_locked(uint64_t line, const Line& bytes, Mask which);
  void refetch_locked(PageState& page, uint64_t line, Mask except);
  void settle_locked(PageState& page, uint64_t line, Mask except);
  void store_to_line(uint64_t line, Mask which);
  template <typename Body>
  void tell_blame(uint64_t line, const Body& body);
  Owed& owe(PageState& page, uint64_t line);
  Owed& owed(PageState& page, uint64_t line);
  Owed take_owed(PageState& page, uint64_t line);
  void take_bytes(PageState& page, uint64_t line, Mask which, Owed& owed);
  bool store_line_around(uint64_t line, Mask which);
  void write_back_line_locked(PageState& page, uint64_t line);
  void write_back_page_locked(PageState& page, uint64_t number);
  void leave_locked(PageState& page, uint64_t number);
  void drop_locked(uint64_t number);
  bool drop_if_clean_locked(uint64_t number);
  void make_room_locked();
  void maybe_evict_locked();
  void evict_locked(uint64_t line);

  const unsigned number_;
  SharedDevice& device_;
  Frames& frames_;
  std::byte* const memory_;  // of frames_
  const Policy policy_;
  Counters& counters_;
  Gate* const gate_;
  DeviceBlame* const blame_;
  std::atomic<uint64_t> stores_{0};  // counted for the gate alone

  std::mutex mutex_;
  std::unique_ptr<std::atomic<Part*>[]> parts_;
  std::vector<std::unique_ptr<Part>> owned_parts_;
  std::map<uint64_t, uint64_t> pages_;  // present ones, by the turn in which they were filled
  uint64_t turns_ = 0;
  std::unique_ptr<OwedLines> spare_;  // for the next page that is owed something
  std::vector<uint64_t> recent_;      // lines made dirty lately, for evictions
  std::mt19937_64 random_;
};

}  // namespace noncoherent
