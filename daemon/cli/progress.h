// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace famfs::cli {

// A line on a terminal's stderr, at most once a second: "famfs cp: 1.2G of 4.0G, 12.3 s". Nothing
// when stderr is no terminal. Thread-safe.
class Progress {
 public:
  Progress(std::string what, std::uint64_t total_bytes);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  // Removes the line.
  ~Progress();

  void add(std::uint64_t bytes);

 private:
  using Clock = std::chrono::steady_clock;

  const std::string what_;
  const std::uint64_t total_;
  const bool terminal_;
  const Clock::time_point start_ = Clock::now();
  std::mutex mutex_;
  Clock::time_point shown_ = start_;
  std::uint64_t done_ = 0;
};

}  // namespace famfs::cli
