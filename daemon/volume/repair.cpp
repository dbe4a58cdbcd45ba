// SPDX-License-Identifier: Apache-2.0
#include "volume/repair.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"
#include "log/reader.h"
#include "log/repair.h"
#include "log/writer.h"
#include "volume/contents.h"
#include "volume/follower.h"
#include "volume/unannounced.h"

namespace famfs::volume {
namespace {

Counters read_counters(memory::SharedMemory& memory) {
  const auto header = memory.acquire(media::kLogOffset, media::kLogHeaderSize);
  return {base::load<uint64_t>(header, media::kNextSeqnumOffset),
          base::load<uint64_t>(header, media::kNextIndexOffset)};
}

// Adds entries [0, end) to `contents`; the first finding that is damage, if any.
std::optional<media::Finding> play(log::Reader& reader, uint64_t end, Contents& contents) {
  for (uint64_t index = 0; index < end; ++index) {
    const auto entry = reader.read_entry(index);
    if (!entry.value) return *media::first_damage(entry.findings);
    if (auto finding = contents.add(*entry.value)) return finding;
  }
  return std::nullopt;
}

void refuse(RepairPlan& plan, std::string reason) {
  plan.refused = true;
  plan.reason = std::move(reason);
}

void want(RepairPlan& plan, uint64_t next, std::string reason) {
  plan.reason = std::move(reason);
  if (plan.found != Counters{next, next}) plan.wanted = Counters{next, next};
}

// The header announces more than the log can hold: only the entries say how many there are.
void plan_from_entries(log::Reader& reader, const media::Superblock& superblock, RepairPlan& plan) {
  const log::LogEnd end = log::find_end(reader, media::log_capacity(superblock.log_len));
  Contents contents(superblock);
  const auto damage = play(reader, end.next, contents);
  if (damage) return refuse(plan, media::to_string(*damage));
  if (end.ending != log::Ending::kWhole && end.ending != log::Ending::kNeverWritten) {
    return refuse(plan, fmt::format("what follows the {} whole log entries is not zeros: it may be "
                                    "an entry that was announced",
                                    end.next));
  }
  want(plan, end.next,
       fmt::format("{} log entries are whole, and zeros follow them to the end", end.next));
}

// The announced entries are whole: the counters may only be behind.
void plan_forward(log::Reader& reader, const media::Superblock& superblock, RepairPlan& plan) {
  const uint64_t announced = plan.found.next_index;
  media::LogHeader header;
  header.last_index = media::log_capacity(superblock.log_len) - 1;
  header.next_index = announced;
  Contents contents(superblock);
  if (play(reader, announced, contents)) {
    // What follows damage cannot be judged; next_index alone says how many entries there are.
    return want(plan, announced, fmt::format("next_index is {}", announced));
  }
  const Unannounced unannounced = take_unannounced(reader, header, contents);
  want(plan, unannounced.next,
       unannounced.next == announced
           ? fmt::format("{} log entries are announced and whole", announced)
           : fmt::format("the {} log entries after the announced ones are whole and fit: an append "
                         "ended before it announced them",
                         unannounced.next - announced));
}

void plan_backward(const log::LogEnd& end, RepairPlan& plan) {
  const uint64_t last = plan.found.next_index - 1;
  switch (end.ending) {
    case log::Ending::kNeverWritten:
      return want(
          plan, end.next,
          fmt::format("log entries {} to {} are announced and were never written", end.next, last));
    case log::Ending::kTorn:
      return want(plan, end.next,
                  fmt::format("log entry {}, the last, lacks whole cache lines: its append ended "
                              "before they were written",
                              last));
    default:
      return refuse(plan, fmt::format("log entries {} to {} are not whole, and nothing shows that "
                                      "they never were: dropping them may lose files",
                                      end.next, last));
  }
}

}  // namespace

RepairPlan plan_repair(memory::SharedMemory& memory) try {
  const media::Superblock superblock = load_superblock(memory);
  RepairPlan plan;
  plan.fs_uuid = superblock.fs_uuid;
  log::Reader reader(memory, superblock);
  const auto header = reader.read_header();
  plan.found = read_counters(memory);
  const auto beyond_counters = [](const media::Finding& finding) {
    return finding.severity == media::Severity::kDamage && finding.field != "next_index";
  };
  const auto damage = std::find_if(header.findings.begin(), header.findings.end(), beyond_counters);
  if (damage != header.findings.end()) {
    refuse(plan, media::to_string(*damage));
  } else if (!header.value) {
    plan_from_entries(reader, superblock, plan);
  } else if (const log::LogEnd end = log::find_end(reader, plan.found.next_index);
             end.ending == log::Ending::kWhole) {
    plan_forward(reader, superblock, plan);
  } else {
    plan_backward(end, plan);
  }
  return plan;
} catch (const base::Error& error) {
  RepairPlan plan;
  refuse(plan, error.message());
  return plan;
}

void apply_repair(memory::SharedMemory& memory, const RepairPlan& plan) {
  const media::Superblock superblock = load_superblock(memory);
  if (superblock.fs_uuid != plan.fs_uuid) {
    throw base::Error(ESTALE, "{} was made anew: nothing was changed", memory.name());
  }
  const Counters now = read_counters(memory);
  if (now != plan.found) {
    throw base::Error(EBUSY,
                      "{}: next_seqnum and next_index are {} and {}, and were {} and {} just now: "
                      "somebody appends, nothing was changed",
                      memory.name(), now.next_seqnum, now.next_index, plan.found.next_seqnum,
                      plan.found.next_index);
  }
  log::Writer(memory, superblock).set_next(plan.wanted->next_index);
}

std::string format_saved_copy(const RepairPlan& plan, const std::string& device) {
  const auto word = [](const char* field, uint64_t offset, uint64_t before, uint64_t after) {
    return fmt::format(R"({{"field":"{}","offset":{},"before":{},"after":{}}})", field,
                       media::kLogOffset + offset, before, after);
  };
  return fmt::format(
      "{{\"schema\":1,\"device\":{},\"fs_uuid\":\"{}\",\"reason\":{},\"words\":[{},{}]}}\n",
      base::json_string(device), plan.fs_uuid.to_string(), base::json_string(plan.reason),
      word("next_seqnum", media::kNextSeqnumOffset, plan.found.next_seqnum,
           plan.wanted->next_seqnum),
      word("next_index", media::kNextIndexOffset, plan.found.next_index, plan.wanted->next_index));
}

}  // namespace famfs::volume
