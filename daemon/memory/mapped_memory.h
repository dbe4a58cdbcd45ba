// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/mapping.h"
#include "memory/shared_memory.h"

namespace famfs::memory {

// A dax device or a regular file mapped shared, maintained with the processor's instructions.
class MappedMemory final : public SharedMemory {
 public:
  // `backend` is a string literal.
  MappedMemory(std::string name, base::Mapping mapping, bool writable, const char* backend);

  const char* backend() const noexcept override { return backend_; }

 private:
  void write_back_lines(uint64_t offset, uint64_t length) override;
  void invalidate_lines(uint64_t offset, uint64_t length) override;
  void store_fence() override;
  void load_fence() override;

  base::Mapping mapping_;
  const char* backend_;
};

}  // namespace famfs::memory
