// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "media/log_entry.h"
#include "media/log_header.h"
#include "media/superblock.h"
#include "memory/shared_memory.h"

namespace famfs::log {

// Appends to the log; only the master may. Not thread-safe. Keeps a reference to the memory, which
// must outlive it.
class Writer {
 public:
  Writer(memory::SharedMemory& memory, const media::Superblock& superblock)
      : memory_(memory), superblock_(superblock) {}

  // Throws base::Error(ENOSPC) if `count` entries do not fit after those that `header` announces.
  void check_room(const media::LogHeader& header, uint64_t count) const;

  // The two halves of an append, in this order. The caller makes sure in between that it still is
  // the same file system, as the log of another must not announce these entries, and that they can
  // be loaded back, as a fence does not order two devices of one interleaved window.
  //
  // Order on the medium: entries stored, written back, fence; next_seqnum then next_index stored,
  // their line written back, fence. A reader that sees next_index therefore sees the entries; a
  // crash before the last step leaves them unannounced and harmless.

  // Stores `bodies` as entries header.next_index.. and publishes them, ended by a seqnum of 0 in
  // the place of the next one; returns the index after them. `header` must be what the log holds
  // (just acquired) with next_seqnum equal to next_index. Throws base::Error before anything is
  // stored: ENOSPC if they do not all fit, EUCLEAN for a skewed header, EINVAL for a body the
  // format cannot hold.
  uint64_t store_entries(const media::LogHeader& header, std::span<const media::EntryBody> bodies);

  // Stores one entry again that lines of another master have come into, and publishes it. Nothing
  // is stored behind it, where the other's further entries may be.
  void store_again(uint64_t index, const media::EntryBody& body);

  // Stores next_seqnum and next_index and publishes them: announces the entries before `next`.
  void set_next(uint64_t next);

  // Writes a whole new log: zeros, header with no entries, both written back and fenced (mkfs).
  // Returns the header.
  media::LogHeader create();

 private:
  memory::SharedMemory& memory_;
  media::Superblock superblock_;
};

}  // namespace famfs::log
