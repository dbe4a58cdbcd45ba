// SPDX-License-Identifier: Apache-2.0
// The members are a contract with scripts: new ones may be added, none changes its meaning without
// a new "schema".
#include <fmt/format.h>

#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "media/path.h"
#include "volume/check.h"

namespace famfs::volume {
namespace {

using base::json_string;

constexpr int kSchema = 1;

// One JSON object, member by member.
class Object {
 public:
  Object& number(std::string_view name, uint64_t value) { return raw(name, std::to_string(value)); }
  Object& text(std::string_view name, std::string_view value) {
    return raw(name, json_string(value));
  }
  Object& flag(std::string_view name, bool value) { return raw(name, value ? "true" : "false"); }
  Object& raw(std::string_view name, std::string_view json) {
    fmt::format_to(std::back_inserter(members_), "{}\"{}\":{}", members_.empty() ? "" : ",", name,
                   json);
    return *this;
  }
  std::string take() const { return '{' + members_ + '}'; }

 private:
  std::string members_;
};

template <typename Range, typename Format>
std::string array(const Range& range, Format format) {
  std::string items;
  for (const auto& item : range) items += (items.empty() ? "" : ",") + format(item);
  return '[' + items + ']';
}

std::string_view name_of(media::Area area) {
  switch (area) {
    case media::Area::kSuperblock:
      return "superblock";
    case media::Area::kLogHeader:
      return "log_header";
    case media::Area::kDevice:
      return "device";
    case media::Area::kLogEntry:
      break;
  }
  return "log_entry";
}

std::string finding_json(const media::Finding& finding) {
  const bool damage = finding.severity == media::Severity::kDamage;
  return Object()
      .text("severity", damage ? "damage" : "notice")
      .text("area", name_of(finding.area))
      .raw("entry", finding.area == media::Area::kLogEntry ? std::to_string(finding.index) : "null")
      .text("field", finding.field)
      .text("found", finding.found)
      .text("allowed", finding.allowed)
      .text("message", media::to_string(finding))
      .take();
}

std::string superblock_json(const media::Superblock& superblock) {
  return Object()
      .number("version", superblock.version)
      .number("omf_major", superblock.omf_major)
      .number("omf_minor", superblock.omf_minor)
      .number("log_offset", media::kLogOffset)
      .number("log_len", superblock.log_len)
      .number("alloc_unit", superblock.alloc_unit)
      .text("fs_uuid", superblock.fs_uuid.to_string())
      .text("device_uuid", superblock.device_uuid.to_string())
      .text("system_uuid", superblock.system_uuid.to_string())
      .number("device_size", superblock.device_size)
      .text("device_name", media::printable(superblock.device_name))
      .take();
}

std::string log_json(const CheckReport& report) {
  return Object()
      .number("last_index", report.log_header->last_index)
      .number("next_seqnum", report.log_header->next_seqnum)
      .number("next_index", report.log_header->next_index)
      .number("entries_used", report.entries_used)
      .number("entries_capacity", report.entries_capacity)
      .number("unannounced", report.unannounced)
      .text("remains", to_string(report.remains))
      .number("bad_entries", report.bad_entries)
      .number("collisions", report.collisions)
      .take();
}

std::string contents_json(const CheckReport& report) {
  return Object()
      .number("files", report.files)
      .number("interleaved_files", report.interleaved_files)
      .number("directories", report.directories)
      .number("file_bytes", report.file_bytes)
      .take();
}

std::string space_json(const CheckReport& report) {
  return Object()
      .number("capacity", report.capacity)
      .number("used", report.used)
      .number("free", report.free)
      .take();
}

std::string device_json(const CheckedDevice& device) {
  const bool missing = device.state.path.empty();
  return Object()
      .number("index", device.state.entry.index)
      .text("uuid", device.state.entry.uuid.to_string())
      .number("size", device.state.entry.size)
      .number("used", device.used)
      .number("free", device.free)
      .raw("path", missing ? "null" : json_string(device.state.path))
      .raw("missing", missing ? json_string(device.state.reason) : "null")
      .take();
}

std::string buckets_json(const CheckReport& report) {
  return Object()
      .number("size", report.bucket_size)
      .raw("used", array(report.bucket_used, [](uint64_t used) { return std::to_string(used); }))
      .take();
}

std::string counters_json(const Counters& counters) {
  return Object()
      .number("next_seqnum", counters.next_seqnum)
      .number("next_index", counters.next_index)
      .take();
}

std::string repair_json(const RepairReport& repair) {
  const RepairPlan& plan = repair.plan;
  return Object()
      .flag("refused", plan.refused)
      .flag("applied", repair.applied)
      .text("reason", plan.reason)
      .raw("found", counters_json(plan.found))
      .raw("wanted", plan.wanted ? counters_json(*plan.wanted) : "null")
      .raw("saved_copy", repair.applied ? json_string(repair.saved_copy) : "null")
      .take();
}

}  // namespace

std::string format_json(const CheckReport& report, const RepairReport* repair) {
  const bool log = report.log_header.has_value();
  Object all;
  all.number("schema", kSchema)
      .text("device", media::printable(report.device))
      .number("device_size", report.device_size)
      .flag("clean", report.clean())
      .raw("role", report.superblock ? json_string(to_string(report.role)) : "null")
      .raw("superblock", report.superblock ? superblock_json(*report.superblock) : "null")
      .raw("log", log ? log_json(report) : "null")
      .raw("contents", log ? contents_json(report) : "null")
      .raw("space", log ? space_json(report) : "null")
      .raw("further_devices", array(report.devices, device_json))
      .raw("buckets", log && !report.bucket_used.empty() ? buckets_json(report) : "null")
      .raw("findings", array(report.findings, finding_json))
      .raw("repair", repair != nullptr ? repair_json(*repair) : "null");
  return all.take() + '\n';
}

}  // namespace famfs::volume
