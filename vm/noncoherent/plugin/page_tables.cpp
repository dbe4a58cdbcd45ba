// SPDX-License-Identifier: Apache-2.0
#include "plugin/page_tables.h"

namespace noncoherent {
namespace {

constexpr uint64_t kPresent = 1;
constexpr uint64_t kLarge = 1 << 7;  // of an entry of the middle levels
constexpr uint64_t kUser = 4;
constexpr uint64_t kNotExecuted = uint64_t{1} << 63;
constexpr uint64_t kAddressBits = 0x000ffffffffff000;

void each_below(uint64_t table, unsigned shift, uint64_t start, const ReadPhysical& read,
                const std::function<void(uint64_t, uint64_t)>& tell) {
  // User space has the lower half of the uppermost table.
  const unsigned entries = shift == 39 ? 256 : 512;
  for (unsigned i = 0; i < entries; ++i) {
    const uint64_t entry = read(table + i * 8);
    const uint64_t address = start + (uint64_t{i} << shift);
    if ((entry & (kPresent | kUser)) != (kPresent | kUser) || (entry & kNotExecuted) != 0) continue;
    if (shift == 12) {
      tell(address, entry & kAddressBits);
    } else if ((entry & kLarge) == 0) {
      each_below(entry & kAddressBits, shift - 9, address, read, tell);
    }
  }
}

}  // namespace

void each_code_page(uint64_t root, const ReadPhysical& read,
                    const std::function<void(uint64_t address, uint64_t physical)>& tell) {
  each_below(root & kAddressBits, 39, 0, read, tell);
}

Translation translate(uint64_t root, uint64_t address, const ReadPhysical& read) {
  uint64_t table = root & kAddressBits;
  for (unsigned shift = 39;; shift -= 9) {
    const uint64_t place = table + (address >> shift & 511) * 8;
    const uint64_t entry = read(place);
    if ((entry & kPresent) == 0) return {false, place};
    const bool last = shift == 12 || ((entry & kLarge) != 0 && shift <= 30);
    if (last) {
      const uint64_t inside = (uint64_t{1} << shift) - 1;
      return {true, (entry & kAddressBits & ~inside) | (address & inside)};
    }
    table = entry & kAddressBits;
  }
}

}  // namespace noncoherent
