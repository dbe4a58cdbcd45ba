// SPDX-License-Identifier: Apache-2.0
// Hosts meet only where a line reaches the device or comes from it; here they can be held.
#pragma once

#include <cstdint>

namespace noncoherent {

enum class Passage { commit, fetch };

// Is asked before each passage. It may take its time: the host stands still meanwhile.
class Gate {
 public:
  virtual ~Gate() = default;
  // `line` is the number of the first line, `count` how many follow it at once (1, or a page).
  virtual void pass(Passage passage, unsigned device, uint64_t line, unsigned count) = 0;
};

}  // namespace noncoherent
