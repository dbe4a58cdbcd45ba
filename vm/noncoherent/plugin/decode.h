// SPDX-License-Identifier: Apache-2.0
// Which instructions of x86-64 the model has to know of. Source: Intel SDM volume 2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace noncoherent {

enum class Kind {
  other,          // nothing that matters here, but that it may store
  stack_at_most,  // stores nothing, or to its stack: PUSH, CALL, MOV to [RSP + 8]
  clwb,
  clflush,
  clflushopt,
  store_around,    // a non-temporal store
  store_fence,     // SFENCE
  full_fence,      // MFENCE, LOCK, XCHG with memory, and what serialises
  address_space,   // changes how addresses are translated, and serialises: MOV to CR, INVLPG
  write_back_all,  // WBNOINVD
  invalidate_all,  // WBINVD
  discard_all,     // INVD
};

// Of [base + index * scale + displacement]; registers as they are numbered in instructions.
struct Address {
  static constexpr int kNone = -1;
  static constexpr int kNextInstruction = 16;  // RIP

  enum class Segment { flat, fs, gs };

  Segment segment = Segment::flat;
  int base = kNone;
  int index = kNone;
  unsigned scale = 1;
  int64_t displacement = 0;
  bool truncated = false;  // to 32 bits
};

struct Instruction {
  Kind kind = Kind::other;
  Address address;  // of the flushes
};

// What the bytes of one whole instruction are, in 64-bit mode (and, but for the address, in
// others). Nothing if they are not one, as far as that can be told.
std::optional<Instruction> decode(std::span<const uint8_t> bytes);

}  // namespace noncoherent
