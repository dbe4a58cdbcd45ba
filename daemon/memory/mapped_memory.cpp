// SPDX-License-Identifier: Apache-2.0
#include "memory/mapped_memory.h"

#include <utility>

#include "memory/cache_line.h"

namespace famfs::memory {

MappedMemory::MappedMemory(std::string name, base::Mapping mapping, bool writable,
                           const char* backend)
    : SharedMemory(std::move(name), mapping.size(), writable),
      mapping_(std::move(mapping)),
      backend_(backend) {
  set_base(mapping_.data());
}

void MappedMemory::write_back_lines(uint64_t offset, uint64_t length) {
  cpu_write_back(base() + offset, length);
}

void MappedMemory::invalidate_lines(uint64_t offset, uint64_t length) {
  cpu_invalidate(base() + offset, length);
}

void MappedMemory::store_fence() { cpu_store_fence(); }

void MappedMemory::load_fence() { cpu_load_fence(); }

}  // namespace famfs::memory
