// SPDX-License-Identifier: Apache-2.0
// Which byte of which device is at an address of the guest's memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace noncoherent {

// One region: a range of host physical addresses (HPA) that its devices share in turns of
// `granularity` bytes (CXL 3.1, 8.2.4.20.13: interleave arithmetic; ways that are a power of two).
struct Window {
  uint64_t base = 0;
  uint64_t size = 0;
  uint64_t granularity = 0;  // 256 or more, a power of two; of no meaning for one device
  std::vector<unsigned> devices;
};

struct Place {
  unsigned device = 0;
  uint64_t offset = 0;  // DPA: bytes from the start of the device
  bool operator==(const Place&) const = default;
};

class Windows {
 public:
  // Reads BASE:SIZE:GRANULARITY:DEVICE[:DEVICE]..., several of them with "+" in between, numbers
  // as in C. Throws std::invalid_argument with what is wrong and what is allowed.
  static Windows parse(std::string_view text);

  // Nothing for an address of other memory.
  std::optional<Place> find(uint64_t address) const;
  const std::vector<Window>& all() const { return windows_; }

 private:
  std::vector<Window> windows_;
};

}  // namespace noncoherent
