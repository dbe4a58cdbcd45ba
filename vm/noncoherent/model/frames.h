// SPDX-License-Identifier: Apache-2.0
// The memory that a host loads from and stores to, which the model fills and empties.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/line.h"

namespace noncoherent {

// The pages of one device that are in a host's cache. Page numbers are those of the device.
// The model calls these functions one at a time.
class Frames {
 public:
  virtual ~Frames() = default;

  // Where the bytes of the device's first page are, or would be. Only bytes of present pages may be
  // touched through it; the host may load and store them at the same time.
  virtual std::byte* data() = 0;
  // Makes an absent page present with these bytes; whoever waits for it goes on.
  virtual void install(uint64_t page, const Page& bytes) = 0;
  // From here on nobody stores to the page: who wants to waits for release() or discard().
  virtual void hold(uint64_t page) = 0;
  virtual void release(uint64_t page) = 0;
  // Makes a held page absent: who touches it next waits for install().
  virtual void discard(uint64_t page) = 0;
  // Lets those go on who wait for a page that is present.
  virtual void wake(uint64_t page) = 0;
};

}  // namespace noncoherent
