// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "base/size_units.h"
#include "media/path.h"
#include "volume/check.h"

namespace famfs::volume {
namespace {

// Collects "  label: value" lines. Scripts read the byte counts by field number, so the human form
// comes after them.
class Lines {
 public:
  explicit Lines(bool human) : human_(human) {}

  template <typename... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '\n';
  }
  void bytes(std::string_view label, uint64_t value) {
    if (human_) {
      line("  {:<21}{} ({})", label, value, base::human_size(value));
    } else {
      line("  {:<21}{}", label, value);
    }
  }
  template <typename Value>
  void value(std::string_view label, const Value& value) {
    line("  {:<21}{}", label, value);
  }
  std::string take() { return std::move(text_); }

 private:
  bool human_;
  std::string text_;
};

void add_superblock(Lines& out, const CheckReport& report, bool verbose) {
  const media::Superblock& superblock = *report.superblock;
  out.line("Superblock:");
  out.value("Filesystem UUID:", superblock.fs_uuid.to_string());
  out.value("Device UUID:", superblock.device_uuid.to_string());
  out.value("System UUID:", superblock.system_uuid.to_string());
  out.value("Role of this host:", to_string(report.role));
  out.value("Version:", superblock.version);
  out.value("OMF version:", fmt::format("{}.{}", superblock.omf_major, superblock.omf_minor));
  out.bytes("Allocation unit:", superblock.alloc_unit);
  if (!verbose) return;
  out.value("Device name:", media::printable(superblock.device_name));
  out.value("log_offset:", media::kLogOffset);
  out.bytes("log_len:", superblock.log_len);
  out.bytes("daxdev.size:", superblock.device_size);
}

void add_log(Lines& out, const CheckReport& report, bool verbose) {
  out.line("Log:");
  out.line("  {} of {} entries used", report.entries_used, report.entries_capacity);
  out.bytes("Bytes in use:", report.entries_used * media::kLogEntrySize);
  out.line("  {} files ({} interleaved)", report.files, report.interleaved_files);
  out.line("  {} directories", report.directories);
  out.line("  {} bad log entries", report.bad_entries);
  out.line("  {} allocation collisions", report.collisions);
  if (report.remains != Remains::kNone) {
    out.line(
        "  remains of an append that ended early ({}) after the last entry; harmless, the next "
        "append overwrites them",
        to_string(report.remains));
  }
  if (!verbose) return;
  out.value("last_index:", report.log_header->last_index);
  out.value("next_seqnum:", report.log_header->next_seqnum);
  out.value("next_index:", report.log_header->next_index);
}

void add_space(Lines& out, const CheckReport& report) {
  const uint64_t metadata = media::file_space_offset(report.superblock->log_len) +
                            report.devices.size() * media::kSecondaryFileSpace;
  out.line("Space:");
  out.bytes("Device capacity:", report.capacity);
  out.bytes("Sum of file sizes:", report.file_bytes);
  out.bytes("Allocated space:", report.used);
  out.bytes("Free space:", report.free);
  if (report.file_bytes > 0) {
    out.value("Space amplification:",
              fmt::format("{:.2f}", static_cast<double>(report.used - metadata) /
                                        static_cast<double>(report.file_bytes)));
  }
  out.value("Percent used:", fmt::format("{:.1f}", 100.0 * static_cast<double>(report.used) /
                                                       static_cast<double>(report.capacity)));
}

void add_devices(Lines& out, const CheckReport& report) {
  out.line("Further devices:");
  for (const CheckedDevice& device : report.devices) {
    const media::DaxDeviceEntry& entry = device.state.entry;
    out.line("  {:>2} {} {} bytes, {} free, {}", entry.index, entry.uuid.to_string(), entry.size,
             device.free, device.state.path.empty() ? "missing" : device.state.path);
  }
}

void add_buckets(Lines& out, const CheckReport& report) {
  out.line("Buckets ({} of {} bytes):", report.bucket_used.size(), report.bucket_size);
  for (size_t i = 0; i < report.bucket_used.size(); ++i) {
    // Buckets are empty when a damaged superblock makes the device smaller than one unit for each.
    const uint64_t percent =
        report.bucket_size == 0 ? 0 : report.bucket_used[i] * 100 / report.bucket_size;
    out.line("  {:>2} {:>15} {:>3}% {}", i, report.bucket_used[i], percent,
             std::string((percent + 4) / 5, '*'));
  }
}

}  // namespace

std::string format_report(const CheckReport& report, const ReportOptions& options) {
  Lines out(options.human);
  if (report.superblock) {
    add_superblock(out, report, options.verbose);
    if (report.log_header) add_log(out, report, options.verbose);
    add_space(out, report);
    if (!report.devices.empty()) add_devices(out, report);
    if (!report.bucket_used.empty()) add_buckets(out, report);
  }
  for (const media::Finding& finding : report.findings) {
    out.line("fsck: {}", media::to_string(finding));
  }
  if (report.clean()) {
    out.line("No errors found");
  } else {
    out.line("{} errors found", report.findings.size());
  }
  return out.take();
}

std::string format_repair(const RepairReport& repair) {
  const RepairPlan& plan = repair.plan;
  if (plan.refused) return fmt::format("repair: refused: {}\n", plan.reason);
  if (!plan.wanted) return fmt::format("repair: nothing to repair: {}\n", plan.reason);
  std::string text = fmt::format("repair: next_seqnum {} -> {}, next_index {} -> {}: {}\n",
                                 plan.found.next_seqnum, plan.wanted->next_seqnum,
                                 plan.found.next_index, plan.wanted->next_index, plan.reason);
  text += repair.applied
              ? fmt::format("repair: done; what was there before is in {}\n", repair.saved_copy)
              : "repair: nothing was changed; --repair=apply does it\n";
  return text;
}

}  // namespace famfs::volume
