// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "alloc/pool.h"
#include "media/finding.h"
#include "media/log_entry.h"
#include "media/superblock.h"
#include "tree/tree.h"

namespace famfs::volume {

// What the log says so far: the names and the space they use (owner of a run = node id).
// Not thread-safe.
struct Contents {
  explicit Contents(const media::Superblock& superblock) : space(superblock) {}

  // Takes one sound entry. A finding, and no change, if it contradicts earlier ones: a path that
  // exists, no directory for it, or space that another file has.
  std::optional<media::Finding> add(const media::LogEntry& entry);

  // Removes the newest nodes, and gives back their space, until `nodes` remain.
  void rollback(uint64_t nodes);

  tree::Tree tree;
  alloc::Pool space;
};

}  // namespace famfs::volume
