// SPDX-License-Identifier: Apache-2.0
#include "plugin/machine.h"

#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <stdexcept>

#include "plugin/recorder.h"
#include "plugin/turnstile.h"

namespace noncoherent {
namespace {

LineLocks& ready_locks(const MappedFile& file) {
  auto& locks = object_in<LineLocks>(file, "locks of lines");
  if (flock(file.descriptor(), LOCK_EX) != 0) fail("locks of lines");
  if (locks.ready != LineLocks::kReady) locks.prepare();
  flock(file.descriptor(), LOCK_UN);
  return locks;
}

}  // namespace

Machine::Device::Device(const DeviceFiles& files, unsigned number)
    : cache_file(files.cache),
      shared_file(files.device),
      lines_file(files.lines),
      number(number),
      shared(shared_file.bytes(), ready_locks(lines_file)) {
  if (cache_file.bytes().size() != shared_file.bytes().size() ||
      shared_file.bytes().size() % kPageSize != 0) {
    throw std::invalid_argument(files.cache + " has another size than " + files.device);
  }
  if (files.history.empty()) return;
  history_file.emplace(files.history);
  if (history_file->bytes().size() < shared.lines() * sizeof(LineHistory)) {
    throw std::invalid_argument(files.history + " is too short for the lines of " + files.device);
  }
}

Machine::Machine(const Configuration& configuration, unsigned processors)
    : reason_(configuration.reason),
      policy_(configuration.policy),
      windows_(configuration.windows),
      counters_file_(configuration.counters),
      counters_(object_in<Counters>(counters_file_, "counters")) {
  if (!configuration.record.empty()) gate_ = std::make_unique<Recorder>(configuration.record);
  if (!configuration.turnstile.empty())
    gate_ = std::make_unique<Turnstile>(configuration.turnstile);
  if (!configuration.findings.empty()) {
    findings_file_.emplace(configuration.findings);
    sites_file_.emplace(configuration.sites);
    blame_ = std::make_unique<Blame>(configuration.host,
                                     object_in<Findings>(*findings_file_, "findings"));
    sites_ = std::make_unique<Sites>(object_in<SiteTable>(*sites_file_, "sites"));
  }
  for (unsigned i = 0; i < configuration.devices.size(); ++i) {
    devices_.push_back(std::make_unique<Device>(configuration.devices[i], i));
    Device& device = *devices_.back();
    if (!blame_) continue;
    device.blame = std::make_unique<DeviceBlame>(
        *blame_, i,
        std::span(&object_in<LineHistory>(*device.history_file, "history"), device.shared.lines()));
  }
  for (unsigned i = 0; i < processors; ++i) processors_.emplace_back(counters_, policy_);
}

void Machine::start() {
  for (const auto& device : devices_) {
    std::byte* const mapping = find_mapping(device->cache_file);
    struct stat status;
    if (fstat(device->cache_file.descriptor(), &status) != 0) fail("the guest's memory");
    if (status.st_blocks != 0) throw std::runtime_error("QEMU has used a device before the guest");
    device->frames = std::make_unique<GuestFrames>(faults_, device->cache_file, mapping);
    device->cache = std::make_unique<Cache>(device->number, device->shared, *device->frames,
                                            policy_, counters_, gate_.get(), device->blame.get());
    faults_.watch(mapping, device->cache_file.bytes().size(),
                  [cache = device->cache.get()](uint64_t page) { cache->fill(page); });
  }
  faults_.run([this](const std::string& reason) { die(reason); });
}

void Machine::loaded(Place place, unsigned length) {
  devices_[place.device]->cache->loaded(place.offset, length);
}

void Machine::stored(Place place, unsigned length) {
  devices_[place.device]->cache->stored(place.offset, length);
}

void Machine::stored_beside_others(Place place, unsigned length, const std::byte* value) {
  devices_[place.device]->cache->stored_beside_others(place.offset, length, value);
}

void Machine::stored_around(unsigned processor, Place place, unsigned length) {
  processors_[processor].store_around(*devices_[place.device]->cache, place.offset, length);
}

void Machine::flush(unsigned processor, Flush flush, uint64_t physical) {
  const std::optional<Place> place = windows_.find(physical);
  if (!place) return;
  Cache& cache = *devices_[place->device]->cache;
  Processor& by = processors_[processor];
  const uint64_t line = place->offset / kLineSize;
  switch (flush) {
    case Flush::write_back:
      return by.clwb(cache, line);
    case Flush::invalidate:
      return by.clflushopt(cache, line);
    case Flush::invalidate_ordered:
      return by.clflush(cache, line);
  }
}

void Machine::flush_unmapped(unsigned processor, Flush flush, uint64_t root, uint64_t address,
                             uint64_t empty_entry) {
  const std::lock_guard lock(unmapped_mutex_);
  unmapped_.add(processor, flush, root, address, empty_entry);
  ++counters_.unmapped;
  counters_.forgotten = unmapped_.forgotten();
}

bool Machine::watches(uint64_t physical) const {
  const std::lock_guard lock(unmapped_mutex_);
  return unmapped_.watches(physical);
}

void Machine::entry_stored(uint64_t physical, const ReadPhysical& read,
                           const std::function<void(unsigned processor)>& waits) {
  const std::lock_guard lock(unmapped_mutex_);
  unmapped_.entry_stored(physical, read, [&](unsigned processor, Flush kind, uint64_t line) {
    flush(processor, kind, line);
    if (waiting(processor)) waits(processor);
  });
}

void Machine::write_back_and_invalidate_all(unsigned processor) {
  full_fence(processor);
  for (const auto& device : devices_) device->cache->write_back_and_invalidate_all();
}

void Machine::die(const std::string& reason) const {
  std::fprintf(stderr, "noncoherent: %s\n", reason.c_str());
  std::ofstream(reason_) << reason << '\n';
  _exit(70);  // a destructor would wait for processors that wait for us
}

}  // namespace noncoherent
