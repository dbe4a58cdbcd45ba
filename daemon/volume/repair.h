// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/uuid.h"
#include "memory/shared_memory.h"

namespace famfs::volume {

// The two words of the log header that no CRC covers.
struct Counters {
  uint64_t next_seqnum = 0;
  uint64_t next_index = 0;

  friend bool operator==(const Counters&, const Counters&) = default;
};

// What fsck can mend without guessing: the header's counters where the entries leave no doubt.
struct RepairPlan {
  base::Uuid fs_uuid{};
  Counters found{};
  std::optional<Counters> wanted{};  // absent: nothing to mend, or refused
  std::string reason{};              // why that is certain; or why nothing is changed
  bool refused = false;              // the counters are wrong, or may be, and mending is guessing
};

// Looks, changes nothing.
RepairPlan plan_repair(memory::SharedMemory& memory);

// Stores plan.wanted, which must be there. Nobody else may have the file system open for writing.
// Throws base::Error and changes nothing: EBUSY if the counters are not what the plan found, ESTALE
// for another file system.
void apply_repair(memory::SharedMemory& memory, const RepairPlan& plan);

// What apply_repair() changes, as JSON: enough to undo it.
std::string format_saved_copy(const RepairPlan& plan, const std::string& device);

}  // namespace famfs::volume
