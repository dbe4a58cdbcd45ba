// SPDX-License-Identifier: Apache-2.0
#include "log/reader.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace famfs::log {

Reader::Reader(memory::SharedMemory& memory, const media::Superblock& superblock)
    : memory_(memory), superblock_(superblock) {}

media::Decoded<media::LogHeader> Reader::read_header() {
  return media::decode_log_header(memory_.acquire(media::kLogOffset, media::kLogHeaderSize),
                                  superblock_.log_len);
}

media::Decoded<media::LogEntry> Reader::decode(uint64_t index) {
  const uint64_t offset = media::log_entry_offset(index);
  auto decoded =
      media::decode_log_entry(memory_.view(offset, media::kLogEntrySize), index, superblock_);
  if (decoded.value) return decoded;
  // The reference announces an entry without a fence in between, so its lines may arrive after the
  // header's: look once more at what is in memory now.
  return media::decode_log_entry(memory_.acquire(offset, media::kLogEntrySize), index, superblock_);
}

Batch Reader::read(const media::LogHeader& header, uint64_t limit) {
  Batch batch;
  batch.end = cursor_;
  if (header.next_index <= cursor_) return batch;
  const uint64_t end = cursor_ + std::min(limit, header.next_index - cursor_);
  memory_.acquire(media::log_entry_offset(cursor_), (end - cursor_) * media::kLogEntrySize);
  batch.entries.reserve(end - cursor_);
  for (; batch.end < end; ++batch.end) {
    auto decoded = decode(batch.end);
    if (!decoded.value) {
      batch.stopped = *media::first_damage(decoded.findings);
      break;
    }
    batch.entries.push_back(std::move(*decoded.value));
    std::move(decoded.findings.begin(), decoded.findings.end(), std::back_inserter(batch.notices));
  }
  return batch;
}

media::Decoded<media::LogEntry> Reader::read_entry(uint64_t index) {
  entry_bytes(index);
  return decode(index);
}

std::span<const std::byte> Reader::entry_bytes(uint64_t index) {
  return memory_.acquire(media::log_entry_offset(index), media::kLogEntrySize);
}

uint64_t Reader::holds(uint64_t first, std::span<const media::EntryBody> bodies) {
  const auto found =
      memory_.acquire(media::log_entry_offset(first), bodies.size() * media::kLogEntrySize);
  uint64_t whole = 0;
  for (; whole < bodies.size(); ++whole) {
    const auto wanted = media::encode({first + whole, bodies[whole]});
    if (!std::equal(wanted.begin(), wanted.end(), &found[whole * media::kLogEntrySize])) break;
  }
  return whole;
}

}  // namespace famfs::log
