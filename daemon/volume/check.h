// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/uuid.h"
#include "media/finding.h"
#include "media/log_entry.h"
#include "media/log_header.h"
#include "media/superblock.h"
#include "memory/shared_memory.h"
#include "volume/repair.h"
#include "volume/unannounced.h"
#include "volume/volume.h"

namespace famfs::volume {

struct CheckOptions {
  std::optional<base::Uuid> system_uuid{};  // of this host, to say which role it has
  uint64_t nbuckets = 0;                    // 1..64 for a histogram of used space, 0 for none
  // How long the master may take between writing an entry and announcing it: what looks like the
  // remains of a crash is looked at again after that.
  std::chrono::milliseconds settle{0};
  DeviceSource devices{};  // where to look for further devices
};

// What was found of one device.
struct CheckedDevice {
  DeviceState state;  // of a further one; the first is the one that was given
  uint64_t used = 0;  // superblock, log and the like included
  uint64_t free = 0;
};

// What fsck knows after reading the whole file system.
struct CheckReport {
  std::string device;                           // as the memory is named
  uint64_t device_size = 0;                     // what it really has
  std::vector<media::Finding> findings;         // empty: clean
  std::optional<media::Superblock> superblock;  // absent if unusable; then nothing below is set
  std::optional<media::LogHeader> log_header;   // absent if unusable
  Role role = Role::kClient;
  uint64_t entries_used = 0;
  uint64_t entries_capacity = 0;
  uint64_t unannounced = 0;          // whole entries after those that fit: an append cut short
  Remains remains = Remains::kNone;  // what is in the place of the next entry: harmless
  uint64_t bad_entries = 0;
  uint64_t collisions = 0;  // entries that overlap earlier ones
  uint64_t files = 0;
  uint64_t directories = 0;  // the root not counted
  uint64_t file_bytes = 0;   // sum of sizes
  uint64_t interleaved_files = 0;
  uint64_t capacity = 0;
  uint64_t used = 0;  // superblock and log included
  uint64_t free = 0;
  std::vector<CheckedDevice> devices;  // the further ones, by index - 1
  std::vector<uint64_t> bucket_used;   // bytes of the first device, one per bucket
  uint64_t bucket_size = 0;

  bool clean() const noexcept { return findings.empty(); }
};

// Reads all metadata of `memory` (a read-only opening is enough) and checks it; goes on after bad
// entries. Damage is in the report, never an exception. Throws only base::Error(EINVAL) for
// nbuckets.
CheckReport check(memory::SharedMemory& memory, const CheckOptions& options);

struct ReportOptions {
  bool verbose = false;  // superblock and log fields too (with the line log_len)
  bool human = false;    // sizes as 4.0G besides bytes
};

// The report as `famfs fsck` prints it, lines ending in '\n'.
std::string format_report(const CheckReport& report, const ReportOptions& options);

// What `famfs fsck --repair` did or would do.
struct RepairReport {
  RepairPlan plan{};
  bool applied = false;
  std::string saved_copy{};  // the file that undoes it
};

// Lines for people, and what they say of it.
std::string format_repair(const RepairReport& repair);

// The report as one line of JSON; its members are described in the README. `repair` may be null.
std::string format_json(const CheckReport& report, const RepairReport* repair);

// What a replay met.
struct ReplayReport {
  uint64_t entries = 0;  // played
  uint64_t files = 0;
  uint64_t directories = 0;
  std::vector<media::Finding> notices;    // skipped entries
  std::optional<media::Finding> stopped;  // the first bad entry
};

// Plays the log of `memory` into nothing (logplay --dryrun), calling `played` for each entry taken.
// Throws as Volume::open.
ReplayReport replay(memory::SharedMemory& memory,
                    const std::function<void(const media::LogEntry&)>& played = {});

}  // namespace famfs::volume
