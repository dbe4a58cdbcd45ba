// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

// The processor's cache instructions. Only memory/ includes this.
namespace famfs::memory {

// Starts writing back each 64-byte line of [start, start + length): CLWB if the processor has it
// (the line stays cached), else CLFLUSHOPT, else CLFLUSH. Both arguments are multiples of 64.
void cpu_write_back(const std::byte* start, size_t length) noexcept;

// Drops each line from every cache of this host, writing it back first if it is dirty: CLFLUSHOPT,
// else CLFLUSH.
void cpu_invalidate(const std::byte* start, size_t length) noexcept;

// SFENCE: stores, CLWB and CLFLUSHOPT before it complete before stores after it.
void cpu_store_fence() noexcept;

// MFENCE: CLFLUSHOPT before it completes before loads after it. SFENCE would not do: it does not
// order loads.
void cpu_load_fence() noexcept;

}  // namespace famfs::memory
