// SPDX-License-Identifier: Apache-2.0
// Writes down what a host's stores to the shared memory come to, for who tries what would be there
// if the host had died in between.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "model/gate.h"
#include "plugin/descriptor.h"

namespace noncoherent {

// The file is a sequence of these, as this machine orders bytes. Before a commit, if the host has
// stored to the device since the one before it: a snapshot and, one for each line that is dirty
// apart from what is about to reach the device, dirty lines. `which`: the bytes of the line.
struct Record {
  enum Kind : uint32_t { kCommit = 1, kSnapshot = 2, kDirty = 3 };

  uint32_t kind;
  uint32_t device;
  uint64_t line;  // of a snapshot: how many dirty lines there are; no more than kMostDirty follow
  Mask which;
  Line bytes;

  static constexpr uint64_t kMostDirty = 1 << 16;
};
static_assert(sizeof(Record) == 88);

// Thread-safe. Throws std::system_error.
class Recorder final : public Gate {
 public:
  explicit Recorder(const std::string& path) : file_(open_file(path)) {}

  void commit(const Commit& commit, DirtyLines& dirty) override;
  void fetch(unsigned, uint64_t, unsigned) override {}

 private:
  void write(const std::vector<Record>& records) const;

  const Descriptor file_;
  std::mutex mutex_;
  std::map<unsigned, uint64_t> stores_;  // of each device, at its latest snapshot
};

}  // namespace noncoherent
