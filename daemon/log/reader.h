// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "media/finding.h"
#include "media/log_entry.h"
#include "media/log_header.h"
#include "media/superblock.h"
#include "memory/shared_memory.h"

namespace famfs::log {

// Entries read in one go, in log order.
struct Batch {
  std::vector<media::LogEntry> entries;   // sound ones, including those that only carry a notice
  std::vector<media::Finding> notices;    // of skipped entries
  std::optional<media::Finding> stopped;  // why entry `end` could not be read, if so
  uint64_t end = 0;                       // index after the last sound entry
};

// Reads a log incrementally. Only entries at or after the cursor are invalidated and read; an entry
// whose seqnum or CRC is wrong is invalidated and read once more before it counts as bad. Nothing
// is taken as read until advance(): a reader of a file system that is being re-made can drop a
// batch. Not thread-safe. Keeps a reference to the memory, which must outlive it.
class Reader {
 public:
  Reader(memory::SharedMemory& memory, const media::Superblock& superblock);

  // Index of the first entry not yet taken.
  uint64_t cursor() const noexcept { return cursor_; }

  // Invalidates and decodes the header (one line).
  media::Decoded<media::LogHeader> read_header();

  // Reads entries [cursor, min(header.next_index, cursor + limit)).
  Batch read(const media::LogHeader& header, uint64_t limit);

  // Takes everything before `index` as read; index >= cursor.
  void advance(uint64_t index) noexcept { cursor_ = index; }

  // Reads the one entry `index` (at most last_index), wherever the cursor is.
  media::Decoded<media::LogEntry> read_entry(uint64_t index);

  // The bytes of entry `index` (at most last_index) as they are in memory now.
  std::span<const std::byte> entry_bytes(uint64_t index);

  // How many entries in memory, from `first` on, are byte for byte what appending `bodies` there
  // stored.
  uint64_t holds(uint64_t first, std::span<const media::EntryBody> bodies);

 private:
  // Decodes an entry that has been acquired; acquires it once more if it is not sound.
  media::Decoded<media::LogEntry> decode(uint64_t index);

  memory::SharedMemory& memory_;
  media::Superblock superblock_;
  uint64_t cursor_ = 0;
};

}  // namespace famfs::log
