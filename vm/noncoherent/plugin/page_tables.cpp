// SPDX-License-Identifier: Apache-2.0
#include "plugin/page_tables.h"

namespace noncoherent {
namespace {

constexpr uint64_t kPresent = 1;
constexpr uint64_t kLarge = 1 << 7;  // of an entry of the middle levels
constexpr uint64_t kAddressBits = 0x000ffffffffff000;

}  // namespace

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
