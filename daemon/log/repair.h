// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "log/reader.h"
#include "media/log_header.h"

namespace famfs::log {

// What a crash left of an append, and where next_seqnum and next_index belong.
struct RepairPlan {
  uint64_t next = 0;             // value for both
  bool needed = false;           // the header has to change
  bool loses_announced = false;  // entries before next_index were never written
};

// Looks at the entries around next_index, changes nothing. Sound entries at and after next_index
// were stored by an append that did not come to announce them: they are kept. Announced entries at
// the very end whose seqnum or CRC is wrong were never written: they are dropped. A bad entry with
// an intact one after it is damage that no header can mend: the plan then leaves next_index where
// it is.
RepairPlan plan_repair(Reader& reader, const media::LogHeader& header);

}  // namespace famfs::log
