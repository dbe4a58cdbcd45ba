// SPDX-License-Identifier: Apache-2.0
//
// What all commands of the probe use.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>

#include <cstdint>
#include <string>
#include <vector>

namespace probe {

inline constexpr std::uint64_t kMiB = 1U << 20;
inline constexpr std::uint64_t kPmd = 2 * kMiB;
inline constexpr std::uint64_t kPage = 4096;

using Arguments = std::vector<std::string>;

// Both end the program with status 1, the second with errno's words behind it.
[[noreturn]] void fail(const std::string& what);
[[noreturn]] void fail_errno(const std::string& what);
void require(bool holds, const std::string& what);

std::uint64_t number(const std::string& text);

// A byte that differs from those around it and in every seed.
std::uint8_t pattern(std::uint64_t offset, std::uint64_t seed);

class File {
 public:
  explicit File(const std::string& path, int flags = O_RDWR);
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File();

  int fd() const { return fd_; }
  std::uint64_t size() const { return size_; }

  // At an address where large pages fit.
  std::uint8_t* map(int protection = PROT_READ | PROT_WRITE, int flags = MAP_SHARED) const;

 private:
  std::string path_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

// Writes back and drops the lines: what is stored here is in memory, what others stored is seen.
void flush(const std::uint8_t* start, std::uint64_t length);

// 0, or the si_code of the SIGBUS that touching gives. At any other time SIGBUS kills, as usual.
int touch(volatile std::uint8_t* at, bool write);

}  // namespace probe
