// SPDX-License-Identifier: Apache-2.0
// The memory in which hosts meet.
#pragma once

#include <pthread.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "model/line.h"

namespace noncoherent {

// What guards the lines of one device against being seen half written. Lies in memory that all
// hosts of the device share, zeroed when it is made, and is made ready by the first host.
struct LineLocks {
  struct Stripe {
    pthread_mutex_t mutex;  // robust and shared between processes
    uint64_t unfinished;    // the number of a line plus one whose bytes are these, else 0
    Line bytes;
  };
  static constexpr size_t kStripes = 64;

  uint64_t ready;  // kReady once the mutexes can be used
  Stripe stripes[kStripes];

  static constexpr uint64_t kReady = 0x314b434f4c454e4c;  // "LNELOCK1"

  // Makes the mutexes usable. Not thread-safe: the caller holds a lock on the file. Throws
  // std::system_error.
  void prepare();
};

// One device as all hosts see it: a line is written and read whole, as on the link between a
// processor and a device (CXL 3.1, 3.3: the unit of CXL.mem is 64 bytes).
//
// Thread and process safety: all functions may be called at once, from several processes, for the
// same LineLocks. A process that is killed inside of one leaves either the old or the new line: who
// comes next finishes it.
//
// Offsets are those of lines and pages, not of bytes; the caller keeps them inside the device.
class SharedDevice {
 public:
  // What is done under the lock of a line or page, before its bytes change or are read; `there` is
  // where they are on the device. Must not call this object.
  using UnderLock = std::function<void(const std::byte* there)>;

  // `memory` is the device, `locks` is prepared; both outlive this object.
  SharedDevice(std::span<std::byte> memory, LineLocks& locks) : memory_(memory), locks_(locks) {}

  uint64_t lines() const { return memory_.size() / kLineSize; }
  uint64_t pages() const { return memory_.size() / kPageSize; }

  // Stores those bytes of `line` that `which` names, all at once for whoever reads it.
  void commit(uint64_t number, const Line& line, Mask which, const UnderLock& also = {});
  Line fetch_line(uint64_t number, const UnderLock& also = {});
  void fetch_page(uint64_t number, Page& page, const UnderLock& also = {});
  // Only that, for a line.
  void locked(uint64_t number, const UnderLock& body);

 private:
  class Guard;

  std::span<std::byte> memory_;
  LineLocks& locks_;
};

}  // namespace noncoherent
