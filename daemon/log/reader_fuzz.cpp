// SPDX-License-Identifier: Apache-2.0
// The log reader over arbitrary bytes in place of the log, with header and entries mended as the
// first byte of the input asks: it ends, stays inside the log and never takes an entry that is not
// sound.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/bytes.h"
#include "base/crc32.h"
#include "log/reader.h"
#include "log/repair.h"
#include "testing/recording_memory.h"

using namespace famfs;

namespace {

constexpr uint64_t kEntries = 16;
constexpr uint64_t kBytes = media::kLogHeaderSize + kEntries * media::kLogEntrySize;

void require(bool holds) {
  if (!holds) std::abort();
}

void mend(std::span<std::byte> log, unsigned what) {
  if ((what & 1) != 0) {
    media::LogHeader header;
    const uint64_t next = base::load<uint64_t>(log, 40);
    header.next_index = (what & 2) != 0 ? next % (kEntries + 1) : next;
    header.next_seqnum = base::load<uint64_t>(log, 32);
    const auto bytes = media::encode(header);
    std::memcpy(log.data(), bytes.data(), bytes.size());
  }
  if ((what & 4) == 0) return;
  for (uint64_t index = 0; index < kEntries; ++index) {
    const auto entry =
        log.subspan(media::kLogHeaderSize + index * media::kLogEntrySize, media::kLogEntrySize);
    base::store<uint64_t>(entry, 0, index);
    base::store<uint64_t>(entry, 536, base::crc32(entry.first(536)));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static ::famfs::testing::RecordingMemory memory;
  memory.events.clear();
  const auto log = memory.raw(media::kLogOffset, kBytes);
  std::memset(log.data(), 0, log.size());
  std::memcpy(log.data(), data + 1, std::min<size_t>(size - 1, log.size()));
  mend(log, data[0]);

  media::Superblock superblock;
  superblock.device_size = memory.size();
  log::Reader reader(memory, superblock);
  const auto header = reader.read_header();
  if (!header.value) {
    require(!header.findings.empty());
    return 0;
  }
  const uint64_t limit = 1 + data[0] / 8;
  for (bool more = true; more;) {
    const log::Batch batch = reader.read(*header.value, limit);
    require(batch.end == reader.cursor() + batch.entries.size());
    require(batch.end <= header.value->next_index);
    for (const auto& entry : batch.entries) {
      for (const auto& finding : media::validate(entry.body, entry.index, superblock)) {
        require(finding.severity == media::Severity::kNotice);
      }
    }
    reader.advance(batch.end);
    more = !batch.entries.empty() && !batch.stopped;
  }
  const log::LogEnd end = log::find_end(reader, header.value->next_index);
  require(end.next <= header.value->next_index);
  require((end.ending == log::Ending::kWhole) == (end.next == header.value->next_index));
  for (const auto& event : memory.events) {
    require(event.offset + event.length <= media::kLogOffset + media::kMinimumLogLength);
  }
  return 0;
}
