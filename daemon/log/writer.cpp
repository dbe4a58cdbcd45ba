// SPDX-License-Identifier: Apache-2.0
#include "log/writer.h"

#include <array>
#include <vector>

#include "base/error.h"

namespace famfs::log {

void Writer::check_room(const media::LogHeader& header, uint64_t count) const {
  const uint64_t first = header.next_index;
  const uint64_t capacity = media::log_capacity(superblock_.log_len);
  if (first > capacity || count > capacity - first) {
    throw base::Error(ENOSPC, "the log is full: {} of {} entries are used and {} more do not fit",
                      first, capacity, count);
  }
}

uint64_t Writer::store_entries(const media::LogHeader& header,
                               std::span<const media::EntryBody> bodies) {
  if (header.next_seqnum != header.next_index) {
    throw base::Error(EUCLEAN, "log header: next_seqnum is {}; allowed: {}, equal to next_index",
                      header.next_seqnum, header.next_index);
  }
  check_room(header, bodies.size());
  const uint64_t first = header.next_index;
  if (bodies.empty()) return first;

  // Encoding may throw, so it is complete before the first store.
  std::vector<std::array<std::byte, media::kLogEntrySize>> images;
  images.reserve(bodies.size());
  for (uint64_t i = 0; i < bodies.size(); ++i) {
    images.push_back(media::encode({first + i, bodies[i]}));
  }
  const uint64_t offset = media::log_entry_offset(first);
  const uint64_t length = images.size() * media::kLogEntrySize;
  // What an append that died left behind these entries must not look like their continuation. The
  // seqnum after an entry is in the line in which the entry ends, so this costs nothing, and
  // stored first it is never later than the entry.
  if (first + images.size() < media::log_capacity(superblock_.log_len)) {
    memory_.store_word(offset + length, 0);
  }
  memory_.store(offset, std::as_bytes(std::span(images)));
  // The entries are in memory before the header that announces them can be.
  memory_.publish(offset, length);
  return first + bodies.size();
}

void Writer::store_again(uint64_t index, const media::EntryBody& body) {
  const uint64_t offset = media::log_entry_offset(index);
  memory_.store(offset, media::encode({index, body}));
  memory_.publish(offset, media::kLogEntrySize);
}

void Writer::set_next(uint64_t next) {
  // The line may be evicted between the two stores; next_index goes second because it alone tells
  // readers how far to read.
  memory_.store_word(media::kLogOffset + media::kNextSeqnumOffset, next);
  memory_.store_word(media::kLogOffset + media::kNextIndexOffset, next);
  memory_.publish(media::kLogOffset, media::kLogHeaderSize);
}

media::LogHeader Writer::create() {
  memory_.store_zeros(media::kLogOffset, superblock_.log_len);
  media::LogHeader header;
  header.log_len = superblock_.log_len;
  header.last_index = media::log_capacity(superblock_.log_len) - 1;
  memory_.store(media::kLogOffset, media::encode(header));
  memory_.publish(media::kLogOffset, superblock_.log_len);
  return header;
}

}  // namespace famfs::log
