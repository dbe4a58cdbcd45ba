// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "mapbench/options.h"

namespace mapbench {

inline constexpr std::uint64_t kSmallPage = 4096;
inline constexpr std::uint64_t kLargePage = 2 << 20;

class OpenFile {
 public:
  explicit OpenFile(const std::string& path);
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// A shared, writable mapping of which no page is there yet. With large pages allowed, its address
// and its place in the file are equal modulo 2 MiB; otherwise they never are.
class Mapping {
 public:
  Mapping(const OpenFile& file, std::uint64_t offset, std::uint64_t length, bool large);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  volatile std::uint64_t* words() const { return reinterpret_cast<std::uint64_t*>(start_); }
  volatile char* bytes() const { return start_; }

 private:
  void* space_;  // reserved around it
  std::uint64_t reserved_;
  char* start_ = nullptr;
};

}  // namespace mapbench
