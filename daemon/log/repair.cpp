// SPDX-License-Identifier: Apache-2.0
#include "log/repair.h"

#include <fmt/format.h>

#include "media/layout.h"

namespace famfs::log {
RepairPlan plan_repair(Reader& reader, const media::LogHeader& header) {
  RepairPlan plan;
  plan.next = header.next_index;
  // Stops at the first intact one, so a log in order costs one entry here and one below.
  while (plan.next > 0 && !reader.is_intact(plan.next - 1)) --plan.next;
  plan.dropped = header.next_index - plan.next;
  if (plan.dropped == 0) {
    while (plan.next <= header.last_index && reader.read_entry(plan.next).value) ++plan.next;
    plan.recovered = plan.next - header.next_index;
  }
  plan.loses_announced = plan.dropped > 0;
  plan.needed = plan.next != header.next_index || header.next_seqnum != plan.next;
  if (plan.dropped > 0) {
    plan.reason = fmt::format("entries {} to {} are announced but were never written", plan.next,
                              header.next_index - 1);
  } else if (plan.recovered > 0) {
    plan.reason = fmt::format("entries {} to {} are sound but not announced", header.next_index,
                              plan.next - 1);
  } else if (plan.needed) {
    plan.reason =
        fmt::format("next_seqnum is {} and next_index {}", header.next_seqnum, header.next_index);
  }
  return plan;
}

}  // namespace famfs::log
