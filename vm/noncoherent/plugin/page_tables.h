// SPDX-License-Identifier: Apache-2.0
// Translation of the guest's addresses, told apart from what is not translated yet.
// Source: Intel SDM volume 3, 5.5 (4-level paging).
#pragma once

#include <cstdint>
#include <functional>

namespace noncoherent {

struct Translation {
  bool mapped = false;
  // mapped: the physical address. Otherwise the physical address of the entry that is not present:
  // until something is stored there, the address stays unmapped.
  uint64_t address = 0;
};

// Reads eight bytes of the guest's physical memory; zero where there is none.
using ReadPhysical = std::function<uint64_t(uint64_t address)>;

// `root` is CR3. Accesses are taken to be allowed wherever something is mapped.
Translation translate(uint64_t root, uint64_t address, const ReadPhysical& read);

// Tells of each page of 4 KiB that user code can execute in.
void each_code_page(uint64_t root, const ReadPhysical& read,
                    const std::function<void(uint64_t address, uint64_t physical)>& tell);

}  // namespace noncoherent
