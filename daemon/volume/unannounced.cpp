// SPDX-License-Identifier: Apache-2.0
#include "volume/unannounced.h"

#include <algorithm>

namespace famfs::volume {
namespace {

Remains remains_at(log::Reader& reader, uint64_t index) {
  const auto bytes = reader.entry_bytes(index);
  if (media::is_intact(bytes, index)) return Remains::kContradicting;
  const bool zeros =
      std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
  return zeros ? Remains::kNone : Remains::kUnfinished;
}

}  // namespace

std::string_view to_string(Remains remains) noexcept {
  switch (remains) {
    case Remains::kUnfinished:
      return "unfinished";
    case Remains::kContradicting:
      return "contradicting";
    case Remains::kNone:
      break;
  }
  return "none";
}

Unannounced take_unannounced(log::Reader& reader, const media::LogHeader& header,
                             Contents& contents) {
  Unannounced found{header.next_index, Remains::kNone};
  for (; found.next <= header.last_index; ++found.next) {
    const auto entry = reader.read_entry(found.next);
    if (!entry.value || contents.add(*entry.value)) {
      found.remains = remains_at(reader, found.next);
      break;
    }
  }
  return found;
}

}  // namespace famfs::volume
