// SPDX-License-Identifier: Apache-2.0
#include "log/repair.h"

#include <algorithm>

#include "media/layout.h"
#include "memory/shared_memory.h"

namespace famfs::log {
namespace {

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

bool is_torn(std::span<const std::byte> bytes, uint64_t index) {
  uint64_t begin = 0;
  // An entry does not begin where a line does.
  uint64_t end = memory::kCacheLine - media::log_entry_offset(index) % memory::kCacheLine;
  while (begin < bytes.size()) {
    if (all_zero(bytes.subspan(begin, end - begin)) &&
        media::needs_bytes(bytes, index, begin, end)) {
      return true;
    }
    begin = end;
    end = std::min<uint64_t>(end + memory::kCacheLine, bytes.size());
  }
  return false;
}

}  // namespace

LogEnd find_end(Reader& reader, uint64_t announced) {
  LogEnd end{Ending::kWhole, announced};
  while (end.next > 0 && !media::is_intact(reader.entry_bytes(end.next - 1), end.next - 1)) {
    --end.next;
  }
  if (end.next == announced) return end;
  end.ending = Ending::kNeverWritten;
  for (uint64_t index = end.next; index < announced; ++index) {
    if (all_zero(reader.entry_bytes(index))) continue;
    // The reference announces entries one by one, so a crash tears the last one only.
    const bool torn = announced == end.next + 1 && is_torn(reader.entry_bytes(index), index);
    end.ending = torn ? Ending::kTorn : Ending::kDamaged;
    break;
  }
  return end;
}

}  // namespace famfs::log
