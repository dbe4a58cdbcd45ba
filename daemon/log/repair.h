// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "log/reader.h"

namespace famfs::log {

// What the announced entries of a log end with.
enum class Ending {
  kWhole,         // an entry that was written completely
  kNeverWritten,  // entries of zeros, as mkfs leaves them: the header counts too many
  kTorn,          // one entry of which whole cache lines never arrived
  kDamaged,       // entries that were written and are not whole now
};

struct LogEnd {
  Ending ending = Ending::kWhole;
  uint64_t next = 0;  // index after the last entry that was written completely
};

// Looks back from the last of `announced` entries (at most the log's capacity) to one that is
// intact; costs one entry if that is the last. Bad entries with an intact one after them are not
// looked at, as no header can mend those. Changes nothing.
LogEnd find_end(Reader& reader, uint64_t announced);

}  // namespace famfs::log
