// SPDX-License-Identifier: Apache-2.0
#include "log/repair.h"

namespace famfs::log {

RepairPlan plan_repair(Reader& reader, const media::LogHeader& header) {
  RepairPlan plan;
  plan.next = header.next_index;
  // Stops at the first intact one, so a log in order costs one entry here and one below.
  while (plan.next > 0 && !reader.is_intact(plan.next - 1)) --plan.next;
  plan.loses_announced = plan.next < header.next_index;
  if (!plan.loses_announced) {
    while (plan.next <= header.last_index && reader.read_entry(plan.next).value) ++plan.next;
  }
  plan.needed = plan.next != header.next_index || header.next_seqnum != plan.next;
  return plan;
}

}  // namespace famfs::log
