// SPDX-License-Identifier: Apache-2.0
#include "cli/file_io.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "base/test_pattern.h"
#include "memory/file_lines.h"

namespace famfs::cli {
namespace {

[[noreturn]] void throw_errno(const char* what, const std::string& path) {
  const int error = errno;
  throw base::Error(error, fmt::format("cannot {} {}: {}", what, path, std::strerror(error)));
}

// Calls `use(buffer, offset)` for each piece of the file.
template <typename Use>
void for_each_piece(std::uint64_t size, Use use) {
  std::vector<std::byte> buffer(std::min<std::uint64_t>(size, kTransferBytes));
  for (std::uint64_t offset = 0; offset < size; offset += buffer.size()) {
    const std::size_t length = std::min<std::uint64_t>(buffer.size(), size - offset);
    use(std::span(buffer).first(length), offset);
  }
}

[[noreturn]] void throw_difference(const std::string& path, std::uint64_t offset, std::byte found,
                                   std::byte wanted, const std::string& with) {
  throw base::Error(EILSEQ, fmt::format("{} differs from {} at offset {}: found {:#04x}, expected "
                                        "{:#04x}",
                                        path, with, offset, static_cast<unsigned>(found),
                                        static_cast<unsigned>(wanted)));
}

void require_equal(std::span<const std::byte> found, std::span<const std::byte> wanted,
                   std::uint64_t offset, const std::string& path, const std::string& with) {
  if (std::memcmp(found.data(), wanted.data(), wanted.size()) == 0) return;
  const auto [mine, theirs] = std::mismatch(found.begin(), found.end(), wanted.begin());
  throw_difference(path, offset + static_cast<std::uint64_t>(mine - found.begin()), *mine, *theirs,
                   with);
}

void require_length(std::size_t got, std::size_t wanted, std::uint64_t offset,
                    const std::string& path) {
  if (got == wanted) return;
  throw base::Error(EIO, fmt::format("{} ended at offset {} while it was read; {} bytes more were "
                                     "expected",
                                     path, offset + got, wanted - got));
}

}  // namespace

std::uint64_t regular_size(int fd, const std::string& path) {
  struct stat attributes = {};
  if (fstat(fd, &attributes) != 0) throw_errno("stat", path);
  if (S_ISDIR(attributes.st_mode)) {
    throw base::Error(EISDIR, fmt::format("{} is a directory; a file is needed", path));
  }
  if (!S_ISREG(attributes.st_mode)) {
    throw base::Error(EINVAL, fmt::format("{} is not a regular file", path));
  }
  return static_cast<std::uint64_t>(attributes.st_size);
}

void write_all(int fd, const std::string& path, std::span<const std::byte> data,
               std::uint64_t offset) {
  while (!data.empty()) {
    const ssize_t done = pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) throw_errno("write", path);
    data = data.subspan(static_cast<std::size_t>(done));
    offset += static_cast<std::uint64_t>(done);
  }
}

std::size_t read_full(int fd, const std::string& path, std::span<std::byte> data,
                      std::uint64_t offset) {
  std::size_t total = 0;
  while (total < data.size()) {
    const ssize_t done =
        pread(fd, data.data() + total, data.size() - total, static_cast<off_t>(offset + total));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) throw_errno("read", path);
    if (done == 0) break;
    total += static_cast<std::size_t>(done);
  }
  return total;
}

void flush_file(int fd, const std::string& path) {
  // Where the kernel maps the file to memory, nobody but who has it mapped can reach its lines.
  // First, as it says where memory has failed.
  memory::drop_lines_of_file(fd, path);
  if (fsync(fd) != 0) throw_errno("flush", path);
}

void fill_random(const std::string& path, std::uint32_t seed) {
  const base::FileDescriptor fd = base::open_file(path, O_RDWR);
  base::TestPattern pattern(seed);
  for_each_piece(regular_size(fd.get(), path),
                 [&](std::span<std::byte> buffer, std::uint64_t offset) {
                   pattern.fill(buffer);
                   write_all(fd.get(), path, buffer, offset);
                 });
  flush_file(fd.get(), path);
}

void verify_random(const std::string& path, std::uint32_t seed) {
  const base::FileDescriptor fd = base::open_file(path, O_RDONLY);
  // What this host has cached of the file may be older than what another wrote.
  flush_file(fd.get(), path);
  base::TestPattern pattern(seed);
  std::vector<std::byte> wanted(kTransferBytes);
  for_each_piece(
      regular_size(fd.get(), path), [&](std::span<std::byte> buffer, std::uint64_t offset) {
        require_length(read_full(fd.get(), path, buffer, offset), buffer.size(), offset, path);
        const std::span<std::byte> expected = std::span(wanted).first(buffer.size());
        pattern.fill(expected);
        require_equal(buffer, expected, offset, path, fmt::format("the pattern of seed {}", seed));
      });
}

void copy_range(int source, const std::string& source_path, int target,
                const std::string& target_path, std::uint64_t offset, std::uint64_t length,
                const std::function<void(std::uint64_t)>& moved) {
  for_each_piece(length, [&](std::span<std::byte> buffer, std::uint64_t position) {
    const std::uint64_t at = offset + position;
    require_length(read_full(source, source_path, buffer, at), buffer.size(), at, source_path);
    write_all(target, target_path, buffer, at);
    moved(buffer.size());
  });
}

void compare_files(const std::string& first, const std::string& second) {
  const base::FileDescriptor one = base::open_file(first, O_RDONLY);
  const base::FileDescriptor two = base::open_file(second, O_RDONLY);
  const std::uint64_t size = regular_size(one.get(), first);
  std::vector<std::byte> other(kTransferBytes);
  for_each_piece(size, [&](std::span<std::byte> buffer, std::uint64_t offset) {
    const std::span<std::byte> wanted = std::span(other).first(buffer.size());
    require_length(read_full(one.get(), first, wanted, offset), wanted.size(), offset, first);
    require_length(read_full(two.get(), second, buffer, offset), buffer.size(), offset, second);
    require_equal(buffer, wanted, offset, second, first);
  });
}

}  // namespace famfs::cli
