// SPDX-License-Identifier: Apache-2.0
#include "memory/held_lines.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <iterator>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/file_descriptor.h"

namespace famfs::memory {
namespace {

constexpr std::size_t kUuidText = 36;
constexpr Range kAllMemory{0, std::numeric_limits<std::uint64_t>::max()};
// Of a record that says little with many lines.
constexpr off_t kRewriteFrom = 1 << 16;
constexpr off_t kLongestLine = 80;  // a uuid and two numbers of 20 digits

struct Entry {
  base::Uuid file_system;  // nil: unknown
  Range range = kAllMemory;
};

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Entry parse(std::string_view line) {
  const auto uuid = base::Uuid::parse(line.substr(0, kUuidText));
  if (!uuid || line.size() <= kUuidText || line[kUuidText] != ' ') return {};
  const std::string_view rest = line.substr(kUuidText + 1);
  const std::size_t space = rest.find(' ');
  if (space == std::string_view::npos) return {};
  const auto offset = number(rest.substr(0, space));
  const auto length = number(rest.substr(space + 1));
  if (!offset || !length || *length > kAllMemory.length - *offset) return {};
  return {*uuid, {*offset, *length}};
}

std::string text(const Entry& entry) {
  return fmt::format("{} {} {}\n", entry.file_system.to_string(), entry.range.offset,
                     entry.range.length);
}

// Locked until it is closed.
base::FileDescriptor open_locked(const std::string& path) {
  for (;;) {
    base::FileDescriptor file =
        base::open_file(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW, 0600);
    while (flock(file.get(), LOCK_EX) != 0) {
      if (errno != EINTR) throw base::system_error("cannot lock " + path);
    }
    // Another may have been put in its place before the lock.
    if (base::is_named(file.get(), path)) return file;
  }
}

// A directory of this user alone. Throws base::Error.
void require_directory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    throw base::system_error("cannot make " + path);
  }
  const base::FileDescriptor directory = base::open_file(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  base::require_private(directory.get(), path);
}

void write_all(int fd, const std::string& path, const std::string& data) {
  base::write_all(fd, path, std::as_bytes(std::span(data)));
}

// By wrapping, so that `by` may be negative.
std::vector<Range> moved(std::span<const Range> ranges, std::uint64_t by) {
  std::vector<Range> result(ranges.begin(), ranges.end());
  for (Range& range : result) range.offset += by;
  return result;
}

}  // namespace

bool HeldLines::Device::owns(std::span<const Range> ranges, const base::Uuid& file_system) const {
  // Parts of one file system that meet are one part.
  return std::all_of(ranges.begin(), ranges.end(), [&](const Range& range) {
    const auto after = parts.upper_bound(range.offset);
    if (after == parts.begin()) return range.length == 0;
    const Part& part = std::prev(after)->second;
    return part.file_system == file_system && part.end >= range.offset + range.length;
  });
}

std::vector<Range> HeldLines::Device::others(std::span<const Range> ranges,
                                             const base::Uuid& file_system) const {
  std::vector<Range> found;
  for (const Range& range : ranges) {
    const std::uint64_t end = range.offset + range.length;
    auto part = parts.upper_bound(range.offset);
    if (part != parts.begin()) --part;
    for (; part != parts.end() && part->first < end; ++part) {
      const std::uint64_t from = std::max(part->first, range.offset);
      const std::uint64_t to = std::min(part->second.end, end);
      if (from < to && part->second.file_system != file_system) found.push_back({from, to - from});
    }
  }
  return found;
}

std::vector<Range> HeldLines::Device::gaps(std::span<const Range> ranges) const {
  std::vector<Range> found;
  for (const Range& range : ranges) {
    const std::uint64_t end = range.offset + range.length;
    std::uint64_t from = range.offset;
    auto part = parts.upper_bound(from);
    if (part != parts.begin()) --part;
    for (; part != parts.end() && part->first < end; ++part) {
      if (part->first > from) found.push_back({from, part->first - from});
      from = std::max(from, part->second.end);
    }
    if (from < end) found.push_back({from, end - from});
  }
  return found;
}

void HeldLines::Device::assign(const Range& range, const base::Uuid& file_system) {
  if (range.length == 0) return;
  std::uint64_t start = range.offset;
  std::uint64_t end = range.offset + range.length;
  auto part = parts.upper_bound(start);
  if (part != parts.begin()) --part;
  while (part != parts.end() && part->first <= end) {
    const auto [other_start, other] = *part;
    if (other.end < start) {
      ++part;
      continue;
    }
    part = parts.erase(part);
    if (other.file_system == file_system) {
      start = std::min(start, other_start);
      end = std::max(end, other.end);
      continue;
    }
    // What of it is outside stays; what lies behind is in order with `part`.
    if (other_start < start) parts.emplace(other_start, Part{start, other.file_system});
    if (other.end > end) parts.emplace_hint(part, end, Part{other.end, other.file_system});
  }
  parts.emplace(start, Part{end, file_system});
}

void HeldLines::Device::read_record(int fd) {
  struct stat status{};
  if (fstat(fd, &status) != 0) throw base::system_error("cannot look at " + record);
  if (status.st_ino != inode) {  // written anew
    parts.clear();
    read = 0;
    inode = status.st_ino;
  }
  std::string fresh(static_cast<std::size_t>(status.st_size - read), '\0');
  const ssize_t got = pread(fd, fresh.data(), fresh.size(), read);
  if (got < 0) throw base::system_error("cannot read " + record);
  if (static_cast<std::size_t>(got) != fresh.size()) {
    throw base::Error(EIO, "cannot read {}: {} bytes at {}, expected {}", record, got, read,
                      fresh.size());
  }
  read = status.st_size;
  for (std::string_view left = fresh; !left.empty();) {
    const std::size_t end = left.find('\n');
    const Entry entry = end == std::string_view::npos ? Entry{} : parse(left.substr(0, end));
    assign(entry.range, entry.file_system);
    left.remove_prefix(end == std::string_view::npos ? left.size() : end + 1);
  }
}

HeldLines::HeldLines(std::string directory, const base::Uuid& file_system, Machine machine)
    : directory_(std::move(directory)), file_system_(file_system), machine_(std::move(machine)) {}

HeldLines::Device& HeldLines::device_locked(const std::string& path) {
  if (const auto found = devices_.find(path); found != devices_.end()) return found->second;
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) throw base::system_error("cannot look at " + path);
  Device device;
  if (S_ISCHR(status.st_mode)) {
    require_directory(directory_);
    device.start = machine_.address(path);
    device.record = device.start != 0 ? directory_ + "/memory"
                                      : fmt::format("{}/{}:{}", directory_, major(status.st_rdev),
                                                    minor(status.st_rdev));
  }
  return devices_.emplace(path, std::move(device)).first->second;
}

void HeldLines::append_locked(Device& device, int fd, std::span<const Range> ranges) {
  std::string lines;
  for (const Range& range : ranges) lines += text({file_system_, range});
  write_all(fd, device.record, lines);
  device.read_record(fd);
  const auto needed = static_cast<off_t>(device.parts.size()) * kLongestLine;
  if (device.read < kRewriteFrom || device.read < 2 * needed) return;
  lines.clear();
  for (const auto& [start, part] : device.parts) {
    lines += text({part.file_system, {start, part.end - start}});
  }
  const std::string fresh = device.record + ".new";
  const base::FileDescriptor file =
      base::open_file(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
  write_all(file.get(), fresh, lines);
  if (rename(fresh.c_str(), device.record.c_str()) != 0) {
    throw base::system_error("cannot replace " + device.record);
  }
}

void HeldLines::take(const std::string& device, std::span<const Range> ranges) {
  std::uint64_t start = 0;
  std::vector<Range> places;
  {
    const std::scoped_lock lock(mutex_);
    const Device& known = device_locked(device);
    if (known.record.empty()) return;
    start = known.start;
    places = moved(ranges, start);
    if (known.owns(places, file_system_)) return;
  }
  const std::scoped_lock drop_lock(drop_mutex_);
  base::FileDescriptor file;
  std::vector<Range> others;
  {
    const std::scoped_lock lock(mutex_);
    Device& known = device_locked(device);
    file = open_locked(known.record);
    known.read_record(file.get());
    others = known.others(places, file_system_);
  }
  if (!others.empty()) machine_.drop(device, moved(others, -start));
  const std::scoped_lock lock(mutex_);
  append_locked(device_locked(device), file.get(), places);
}

void HeldLines::note(const std::string& device, std::span<const Range> ranges) {
  const std::scoped_lock lock(mutex_);
  Device& known = device_locked(device);
  const std::vector<Range> places = moved(ranges, known.start);
  if (known.record.empty() || known.gaps(places).empty()) return;
  const base::FileDescriptor file = open_locked(known.record);
  known.read_record(file.get());
  append_locked(known, file.get(), known.gaps(places));
}

}  // namespace famfs::memory
