// SPDX-License-Identifier: Apache-2.0
#include "mapbench/meter.h"

#include <sys/resource.h>

#include <algorithm>
#include <ctime>
#include <numeric>
#include <stdexcept>

namespace mapbench {
namespace {

std::uint64_t now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1000000000 +
         static_cast<std::uint64_t>(time.tv_nsec);
}

std::uint64_t faults_so_far() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_minflt + usage.ru_majflt);
}

}  // namespace

Meter::Meter(std::uint64_t laps) : laps_(laps), faults_(faults_so_far()), last_(0) {
  if (laps == 0) throw std::invalid_argument("less than a lap to measure");
  laps_.clear();  // its memory stays, and was touched before the first lap
  last_ = now();
}

void Meter::lap() {
  const std::uint64_t time = now();
  laps_.push_back(time - last_);
  last_ = time;
}

Result Meter::stop(std::uint64_t operations, std::uint64_t bytes) {
  const std::uint64_t faults = faults_so_far() - faults_;
  const std::uint64_t total = std::accumulate(laps_.begin(), laps_.end(), std::uint64_t{0});
  const auto middle = laps_.begin() + static_cast<std::ptrdiff_t>(laps_.size() / 2);
  std::nth_element(laps_.begin(), middle, laps_.end());
  return {{"nanoseconds", *middle * laps_.size()},
          {"elapsed", total},
          {"faults", faults},
          {"operations", operations},
          {"bytes", bytes}};
}

}  // namespace mapbench
