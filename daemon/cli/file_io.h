// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace famfs::cli {

// Bytes that one read(2) or write(2) moves.
inline constexpr std::size_t kTransferBytes = 1U << 20;

// Size in bytes of the regular file `fd`. Throws base::Error, EISDIR or EINVAL for other kinds.
std::uint64_t regular_size(int fd, const std::string& path);

// All of `data` at `offset`. Throws base::Error.
void write_all(int fd, const std::string& path, std::span<const std::byte> data,
               std::uint64_t offset);

// Fills `data` from `offset`; less only at the end of the file. Returns the bytes read.
std::size_t read_full(int fd, const std::string& path, std::span<std::byte> data,
                      std::uint64_t offset);

// Writes the file back to shared memory and drops what this host has cached of it: fsync(2), and
// the lines themselves where the kernel maps it. The descriptor is open for reading.
void flush_file(int fd, const std::string& path);

// Fills the file `path` with the pattern of `seed` (base::TestPattern) and flushes it.
void fill_random(const std::string& path, std::uint32_t seed);

// Compares the file `path` with the pattern of `seed`. Throws base::Error with EILSEQ and the
// offset of the first difference.
void verify_random(const std::string& path, std::uint32_t seed);

// `length` bytes at `offset` from one file into another at the same place. `moved` is told the
// bytes of each transfer.
void copy_range(int source, const std::string& source_path, int target,
                const std::string& target_path, std::uint64_t offset, std::uint64_t length,
                const std::function<void(std::uint64_t)>& moved);

// Compares two files of equal size. Throws base::Error with EILSEQ and the offset of the first
// difference.
void compare_files(const std::string& first, const std::string& second);

}  // namespace famfs::cli
