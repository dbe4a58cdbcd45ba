// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "base/mapping.h"
#include "memory/shared_memory.h"

namespace famfs::memory {

// A host with a cache of its own over a regular file that plays the shared memory. Loads and stores
// go to a private copy of the whole file, taken at opening (holes are not read). The copy takes
// over the file's bytes only by invalidation, the file takes over the copy's only by write-back
// followed by a fence, both line by line: a forgotten write-back, fence or invalidation stays
// visible for ever. As in a processor, writing back a line that was not stored to changes nothing.
// Unlike a processor it never writes back or drops a line on its own, and invalidating a line that
// was stored to but not written back loses the store.
class NoncoherentMemory final : public SharedMemory {
 public:
  NoncoherentMemory(std::string name, base::FileDescriptor file, uint64_t size, bool writable);

  const char* backend() const noexcept override { return "noncoherent"; }

 private:
  struct Pending {
    uint64_t offset = 0;
    std::vector<std::byte> bytes;
  };

  void write_back_lines(uint64_t offset, uint64_t length) override;
  void invalidate_lines(uint64_t offset, uint64_t length) override;
  void store_fence() override;
  void load_fence() override {}

  void load_file();
  bool is_dirty(uint64_t offset) const;
  void fetch(uint64_t offset, uint64_t length);
  void complete_pending();

  base::FileDescriptor file_;
  base::Mapping copy_;
  base::Mapping clean_;           // each line as it was last fetched or written back
  std::mutex mutex_;              // guards pending_ and orders transfers between copy and file
  std::vector<Pending> pending_;  // written back, not fenced
};

}  // namespace famfs::memory
