// SPDX-License-Identifier: Apache-2.0
// A host: its devices, their caches, and its processors.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "model/blame.h"
#include "model/cache.h"
#include "model/processor.h"
#include "plugin/configuration.h"
#include "plugin/descriptor.h"
#include "plugin/sites.h"
#include "plugin/unmapped_flushes.h"
#include "plugin/user_faults.h"

namespace noncoherent {

// Thread safety: what takes a processor's number is called by that processor alone; all else by
// any.
class Machine {
 public:
  // Opens the files. Throws what open_file and Configuration throw.
  Machine(const Configuration& configuration, unsigned processors);

  // Finds the devices in QEMU's memory and watches them; before the guest runs. Throws
  // std::runtime_error.
  void start();

  // Where a physical address is; nothing for other memory.
  std::optional<Place> find(uint64_t address) const { return windows_.find(address); }
  // Null if nobody is blamed; then loads are not told.
  Sites* sites() const { return sites_.get(); }
  // Of a place of a device.
  void loaded(Place place, unsigned length);
  void stored(Place place, unsigned length);
  void stored_beside_others(Place place, unsigned length, const std::byte* value);
  void stored_around(unsigned processor, Place place, unsigned length);

  // Of a mapped address; one of other memory is left alone.
  void flush(unsigned processor, Flush flush, uint64_t physical);
  void flush_unmapped(unsigned processor, Flush flush, uint64_t root, uint64_t address,
                      uint64_t empty_entry);
  // A store to other memory, which may be a page table.
  bool watches(uint64_t physical) const;
  // `waits` is called for each processor that has a flush to complete from then on.
  void entry_stored(uint64_t physical, const ReadPhysical& read,
                    const std::function<void(unsigned processor)>& waits);
  // Changes when a page begins to be watched.
  const std::atomic<uint64_t>& generation() const { return unmapped_.generation(); }

  void store_fence(unsigned processor) { processors_[processor].store_fence(); }
  void full_fence(unsigned processor) { processors_[processor].full_fence(); }
  bool waiting(unsigned processor) const { return processors_[processor].waiting(); }
  void write_back_and_invalidate_all(unsigned processor);

  unsigned processors() const { return static_cast<unsigned>(processors_.size()); }

  // Ends the guest, and leaves the reason.
  [[noreturn]] void die(const std::string& reason) const;

 private:
  struct Device {
    Device(const DeviceFiles& files, unsigned number);

    MappedFile cache_file, shared_file, lines_file;
    std::optional<MappedFile> history_file;
    unsigned number;
    SharedDevice shared;
    std::unique_ptr<GuestFrames> frames;  // from start() on
    std::unique_ptr<DeviceBlame> blame;   // null if nobody is blamed
    std::unique_ptr<Cache> cache;
  };
  // Beyond these pages, 1 GiB, flushes of what is never mapped are forgotten, oldest first.
  static constexpr size_t kMostUnmapped = 1 << 18;

  const std::string reason_;
  const Policy policy_;
  const Windows windows_;
  MappedFile counters_file_;
  Counters& counters_;
  std::unique_ptr<Gate> gate_;  // null if nobody watches
  std::optional<MappedFile> findings_file_, sites_file_;
  std::unique_ptr<Blame> blame_;
  std::unique_ptr<Sites> sites_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::deque<Processor> processors_;

  mutable std::mutex unmapped_mutex_;  // before those of caches
  UnmappedFlushes unmapped_{kMostUnmapped};

  UserFaults faults_;  // last: its thread ends first
};

}  // namespace noncoherent
