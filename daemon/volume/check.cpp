// SPDX-License-Identifier: Apache-2.0
#include "volume/check.h"

#include <algorithm>
#include <iterator>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "log/reader.h"
#include "volume/contents.h"
#include "volume/follower.h"

namespace famfs::volume {
namespace {

// Moves `findings` to the end of `report`'s.
void add(CheckReport& report, std::vector<media::Finding> findings) {
  std::move(findings.begin(), findings.end(), std::back_inserter(report.findings));
}

void check_entries(log::Reader& reader, uint64_t begin, uint64_t end, Contents& contents,
                   CheckReport& report) {
  for (uint64_t index = begin; index < end; ++index) {
    auto entry = reader.read_entry(index);
    add(report, std::move(entry.findings));
    if (!entry.value) {
      ++report.bad_entries;
      continue;
    }
    if (auto finding = contents.add(*entry.value)) {
      finding->field == "fmap" ? ++report.collisions : ++report.bad_entries;
      report.findings.push_back(*std::move(finding));
      continue;
    }
    const auto* file = std::get_if<media::FileEntry>(&entry.value->body);
    if (file != nullptr && file->map.interleaved()) ++report.interleaved_files;
  }
}

// What follows the announced entries, which `contents` holds.
Unannounced look_behind(log::Reader& reader, const media::LogHeader& header, Contents& contents) {
  const Contents::Mark before = contents.mark();
  const Unannounced found = take_unannounced(reader, header, contents);
  contents.rollback(before);
  return found;
}

// An append that a crash cut short, or files that a damaged next_index hides: next_seqnum, which is
// stored first, is right after the one, and nothing else in the format tells them apart.
media::Finding unannounced_finding(const media::LogHeader& header, uint64_t next) {
  return {media::Severity::kNotice,
          media::Area::kLogHeader,
          0,
          "next_index",
          std::to_string(header.next_index),
          fmt::format("{}, as {} log entries from there on are whole and fit (a mount on the "
                      "master, or --repair=apply, announces them)",
                      next, next - header.next_index)};
}

// Reads until the header announces nothing that was not read: a master may be appending meanwhile.
// The log is finite, so this ends.
void check_log(log::Reader& reader, const CheckOptions& options, Contents& contents,
               CheckReport& report) {
  const auto announces_more = [&](const media::Decoded<media::LogHeader>& header) {
    return header.value && header.value->next_index > report.entries_used;
  };
  auto header = reader.read_header();
  while (header.value) {
    if (announces_more(header)) {
      const uint64_t end = header.value->next_index;
      check_entries(reader, report.entries_used, end, contents, report);
      report.entries_used = end;
      header = reader.read_header();
      continue;
    }
    const uint64_t announced = header.value->next_index;
    const Unannounced behind = look_behind(reader, *header.value, contents);
    report.remains = behind.remains;
    if (header.findings.empty() && behind.next == announced) break;
    // An append that is under way looks like this as well, but not for long.
    std::this_thread::sleep_for(options.settle);
    header = reader.read_header();
    if (announces_more(header)) continue;
    report.unannounced = behind.next - announced;
    if (header.value && report.unannounced > 0) {
      report.findings.push_back(unannounced_finding(*header.value, behind.next));
    }
    break;
  }
  report.log_header = header.value;
  add(report, std::move(header.findings));
}

void add_numbers(const Contents& contents, uint64_t nbuckets, CheckReport& report) {
  report.files = contents.tree.files();
  report.directories = contents.tree.directories() - 1;
  report.file_bytes = contents.tree.file_bytes();
  report.capacity = contents.space.capacity();
  report.used = contents.space.used();
  report.free = contents.space.free();
  if (nbuckets == 0) return;
  const alloc::Space& first = contents.space.space(0);
  report.bucket_size = alloc::bucket_size(first.capacity(), nbuckets);
  for (uint64_t i = 0; i < nbuckets; ++i) {
    report.bucket_used.push_back(first.used_within(i * report.bucket_size, report.bucket_size));
  }
}

// A device that is not there is a finding: nobody can say whether its files are sound.
void check_devices(const Contents& contents, const media::Superblock& superblock,
                   const DeviceSource& source, CheckReport& report) {
  if (contents.devices.empty()) return;
  Devices devices(superblock, source);
  devices.follow(contents.devices);
  for (DeviceState& state : devices.states()) {
    const alloc::Space& space = contents.space.space(state.entry.index);
    if (state.path.empty()) {
      report.findings.push_back({media::Severity::kDamage, media::Area::kDevice, state.entry.index,
                                 "first block", state.reason,
                                 "a device of this file system with that uuid and size"});
    }
    report.devices.push_back({std::move(state), space.used(), space.free()});
  }
}

}  // namespace

CheckReport check(memory::SharedMemory& memory, const CheckOptions& options) {
  if (options.nbuckets > alloc::kMaxBuckets) {
    throw base::Error(EINVAL, "nbuckets is {}; allowed: 1 to {}", options.nbuckets,
                      alloc::kMaxBuckets);
  }
  CheckReport report;
  report.device = memory.name();
  report.device_size = memory.size();
  const uint64_t readable = std::min(memory.size(), media::kSuperblockSize);
  memory.reach(readable);
  auto superblock = media::decode_superblock(memory.acquire(0, readable), memory.size());
  add(report, std::move(superblock.findings));
  if (!superblock.value) return report;
  memory.reach(media::file_space_offset(superblock.value->log_len));
  report.superblock = superblock.value;
  report.role =
      superblock.value->system_uuid == options.system_uuid ? Role::kMaster : Role::kClient;
  report.entries_capacity = media::log_capacity(superblock.value->log_len);

  log::Reader reader(memory, *superblock.value);
  Contents contents(*superblock.value);
  check_log(reader, options, contents, report);
  add_numbers(contents, options.nbuckets, report);
  check_devices(contents, *superblock.value, options.devices, report);
  if (!media::is_same_file_system(memory.acquire(0, memory::kCacheLine),
                                  superblock.value->fs_uuid)) {
    throw base::Error(ESTALE, "{} was made anew while it was checked: check it again",
                      memory.name());
  }
  return report;
}

ReplayReport replay(memory::SharedMemory& memory,
                    const std::function<void(const media::LogEntry&)>& played) {
  std::mutex media_mutex;
  Follower follower(memory, load_superblock(memory), media_mutex);
  RefreshResult result = follower.follow(played);
  if (result.stopped && result.stopped->area == media::Area::kLogHeader) {
    throw base::Error(EUCLEAN, "{}: {}", memory.name(), media::to_string(*result.stopped));
  }
  return {.entries = result.entries,
          .files = follower.contents().tree.files(),
          .directories = follower.contents().tree.directories() - 1,
          .notices = std::move(result.notices),
          .stopped = std::move(result.stopped)};
}

}  // namespace famfs::volume
