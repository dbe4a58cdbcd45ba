// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "alloc/pool.h"
#include "media/finding.h"
#include "media/log_entry.h"
#include "media/superblock.h"
#include "tree/tree.h"

namespace famfs::volume {

// What the log says so far: the names, the space they use (owner of a run = node id), and the
// devices it is on. Not thread-safe.
class Contents {
 public:
  explicit Contents(const media::Superblock& superblock)
      : space(superblock), first_device_(superblock.device_uuid) {}

  // Takes one sound entry. A finding, and no change, if it contradicts earlier ones: a path that
  // exists, no directory for it, space that another file has, a device that there is not, or one
  // that is there already or out of order.
  std::optional<media::Finding> add(const media::LogEntry& entry);

  // How much there is now, to come back to.
  struct Mark {
    uint64_t nodes = 0;
    size_t devices = 0;
  };
  Mark mark() const noexcept { return {tree.count(), devices.size()}; }
  // Removes what was added since, and gives back its space.
  void rollback(const Mark& mark);

  tree::Tree tree;
  alloc::Pool space;
  // Those besides the first, by index - 1.
  std::vector<media::DaxDeviceEntry> devices;

 private:
  std::optional<media::Finding> add_file(const media::LogEntry& entry,
                                         const media::FileEntry& file);
  std::optional<media::Finding> add_device(uint64_t index, const media::DaxDeviceEntry& device);

  base::Uuid first_device_;
  std::vector<uint64_t> device_sizes_;  // of devices
};

}  // namespace famfs::volume
