// SPDX-License-Identifier: Apache-2.0
// Hosts meet only where a line reaches the device or comes from it; here they can be watched and
// held.
#pragma once

#include <cstdint>
#include <functional>

#include "model/line.h"

namespace noncoherent {

// A line that is about to reach the device, or bytes of it.
struct Commit {
  unsigned device;
  uint64_t line;
  const Line& bytes;
  Mask which;
};

// What else a host has that could reach a device at any moment, as a cache may evict what it likes;
// without lines that only differ from their base, which devices of the machine have stored to.
class DirtyLines {
 public:
  using Tell = std::function<void(uint64_t line, const Line& bytes, Mask which)>;

  virtual ~DirtyLines() = default;
  // How often the host has stored to the device. While that stays the same no line becomes dirty.
  virtual uint64_t stores() const = 0;
  // A line that was flushed and stored to again before the fence comes twice, the newer one last.
  virtual void each(const Tell& tell) = 0;
};

// Is told before each passage. It may take its time: the host stands still meanwhile.
class Gate {
 public:
  virtual ~Gate() = default;
  // `dirty` is of the same device, without what is about to reach it.
  virtual void commit(const Commit& commit, DirtyLines& dirty) = 0;
  // `line` is the number of the first line, `count` how many come at once (1, or a page).
  virtual void fetch(unsigned device, uint64_t line, unsigned count) = 0;
};

}  // namespace noncoherent
