// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "mapbench/result.h"

namespace mapbench {

// Time and page faults of equal laps. On a machine that does other work too, this process stands
// still for long times now and then: they fall into few laps, and the lap in the middle knows
// nothing of them.
class Meter {
 public:
  explicit Meter(std::uint64_t laps);

  void lap();
  // What all laps together had to do.
  Result stop(std::uint64_t operations, std::uint64_t bytes);

 private:
  std::vector<std::uint64_t> laps_;
  std::uint64_t faults_;
  std::uint64_t last_;
};

}  // namespace mapbench
