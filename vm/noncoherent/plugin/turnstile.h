// SPDX-License-Identifier: Apache-2.0
// Lets another program decide when a line may pass between a host and a device.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "model/gate.h"
#include "plugin/descriptor.h"

namespace noncoherent {

// What the other program sets, in a file that both have mapped.
struct Held {
  enum Kind : uint32_t { kCommits = 1, kFetches = 2 };

  std::atomic<uint32_t> kinds;  // those that wait, of lines
  uint32_t unused;
  std::atomic<uint64_t> lines;  // below this number, of each device
};

// What waits, as it is told through the first FIFO; one byte in the other lets it go.
struct Passage {
  uint32_t kind;
  uint32_t device;
  uint64_t line;
  uint64_t count;  // of lines that come at once; 1 of a commit
};
static_assert(sizeof(Passage) == 24);

// The host stands still while a passage waits. Thread-safe. Throws std::system_error.
class Turnstile final : public Gate {
 public:
  // PATH: Held; PATH.waits and PATH.goes: the FIFOs.
  explicit Turnstile(const std::string& path)
      : held_file_(path),
        held_(object_in<Held>(held_file_, "turnstile")),
        waits_(open_file(path + ".waits")),
        goes_(open_file(path + ".goes")) {}

  void commit(const Commit& commit, DirtyLines&) override {
    pass({Held::kCommits, commit.device, commit.line, 1});
  }
  void fetch(unsigned device, uint64_t line, unsigned count) override {
    pass({Held::kFetches, device, line, count});
  }

 private:
  bool free(const Passage& passage) const {
    return (held_.kinds.load() & passage.kind) == 0 || passage.line >= held_.lines.load();
  }
  void pass(const Passage& passage);

  const MappedFile held_file_;
  const Held& held_;
  const Descriptor waits_, goes_;  // open for reading too, so neither ever ends
  std::mutex mutex_;
};

}  // namespace noncoherent
