// SPDX-License-Identifier: Apache-2.0
#include "memory/file_lines.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "base/mapping.h"
#include "memory/dax_device.h"
#include "memory/device_window.h"
#include "memory/mapped_memory.h"

namespace famfs::memory {
namespace {

constexpr std::uint64_t kPiece = 2ULL << 20;
constexpr std::uint64_t kPage = 4096;

// Makes all pages present; false if one cannot be had, where touching it would kill this process.
// A kernel before 5.14 cannot be asked.
bool can_be_touched(std::byte* start, std::uint64_t length) {
  return madvise(start, length, MADV_POPULATE_READ) == 0 || errno == EINVAL;
}

// Memory whose lines are dropped piece by piece. Offsets are of the mapping.
class Lines {
 public:
  Lines(const std::string& path, base::Mapping mapping)
      : start_(mapping.data()), memory_(path, std::move(mapping), false, "file") {}

  void drop(std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t piece = from; piece < to; piece = end_of(piece, kPiece, to)) {
      const std::uint64_t end = end_of(piece, kPiece, to);
      if (drop_piece(piece, end)) continue;
      for (std::uint64_t page = piece; page < end; page = end_of(page, kPage, end)) {
        if (!drop_piece(page, end_of(page, kPage, end)) && !lost_) lost_ = page;
      }
    }
  }

  // Throws EIO if not all could be dropped.
  void require_all(const std::string& path) const {
    if (!lost_) return;
    throw base::Error(EIO, "{}: memory has failed, at offset {} first; the rest is written back",
                      path, *lost_);
  }

 private:
  static std::uint64_t end_of(std::uint64_t at, std::uint64_t unit, std::uint64_t limit) {
    return std::min(at - at % unit + unit, limit);
  }

  // A line that is dirty is written back when it is dropped.
  bool drop_piece(std::uint64_t from, std::uint64_t to) {
    const std::uint64_t page = from - from % kPage;
    if (!can_be_touched(start_ + page, to - page)) return false;
    memory_.acquire(from, to - from);
    return true;
  }

  std::byte* const start_;
  MappedMemory memory_;
  std::optional<std::uint64_t> lost_;
};

// Sorted, whole pages inside a device of `size` bytes, and those that meet as one.
std::vector<Range> joined(std::vector<Range> ranges, std::uint64_t size) {
  std::sort(ranges.begin(), ranges.end());
  std::vector<Range> result;
  for (Range range : ranges) {
    if (range.offset >= size) continue;
    range.length = std::min(range.length, size - range.offset) + range.offset % kPage;
    range.offset -= range.offset % kPage;
    range.length += (kPage - range.length % kPage) % kPage;
    if (!result.empty() && range.offset <= result.back().offset + result.back().length) {
      Range& last = result.back();
      last.length = std::max(last.length, range.offset + range.length - last.offset);
    } else {
      result.push_back(range);
    }
  }
  return result;
}

}  // namespace

void drop_lines_of_file(int fd, const std::string& path) {
  struct stat attributes{};
  if (fstat(fd, &attributes) != 0) throw base::system_error("cannot look at " + path);
  const auto size = static_cast<std::uint64_t>(attributes.st_size);
  if (size == 0) return;
  base::Mapping mapping;
  try {
    mapping = base::Mapping::shared(fd, size, false);
  } catch (const base::Error& error) {
    if (error.code() == ENODEV) return;
    throw;
  }
  Lines lines(path, std::move(mapping));
  lines.drop(0, size);
  lines.require_all(path);
}

void drop_lines_of_device(const std::string& path, std::vector<Range> ranges) {
  const DaxDevice device = describe_dax_device(path);
  ranges = joined(std::move(ranges), device.size);
  if (device.driver != kFileSystemDriver) {
    const base::FileDescriptor file = base::open_file(path, O_RDONLY);
    Lines lines(path, base::Mapping::shared(file.get(), device.size, false));
    for (const Range& range : ranges) lines.drop(range.offset, range.offset + range.length);
    lines.require_all(path);
    return;
  }
  // A window for each: what lies between them may be of files that are open.
  DeviceWindow window(path);
  std::optional<base::Error> failed;
  for (const Range& range : ranges) {
    try {
      drop_lines_of_file(window.open({range.offset, range.length}, false).get(), path);
    } catch (const base::Error& error) {
      if (error.code() != EIO) throw;
      failed = error;
    }
  }
  if (failed) throw base::Error(*failed);
}

}  // namespace famfs::memory
