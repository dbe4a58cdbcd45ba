// SPDX-License-Identifier: Apache-2.0
#include "memory/file_lines.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/mapping.h"
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
  std::byte* const start = mapping.data();
  MappedMemory memory(path, std::move(mapping), false, "file");
  std::optional<std::uint64_t> lost;
  // A line that is dirty is written back when it is dropped.
  const auto drop = [&](std::uint64_t from, std::uint64_t to) {
    if (!can_be_touched(start + from, to - from)) return false;
    memory.acquire(from, to - from);
    return true;
  };
  for (std::uint64_t piece = 0; piece < size; piece += kPiece) {
    const std::uint64_t end = std::min(piece + kPiece, size);
    if (drop(piece, end)) continue;
    for (std::uint64_t page = piece; page < end; page += kPage) {
      if (!drop(page, std::min(page + kPage, end)) && !lost) lost = page;
    }
  }
  if (lost) {
    throw base::Error(EIO, "{}: memory has failed, at offset {} first; the rest is written back",
                      path, *lost);
  }
}

}  // namespace famfs::memory
