// SPDX-License-Identifier: Apache-2.0
// How much of the freedom that a processor has the model makes use of.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace noncoherent {

struct Policy {
  // strict: everything as late as the processor may do it, and an invalidated line is fetched again
  // at once. lenient: everything at once, and an invalidated line stays out until it is touched.
  enum class Order { strict, lenient };

  Order order = Order::strict;
  // How many of 1024 events (stores that make a line dirty, flushes, fences) make some line leave
  // the cache, dirty ones first; 0..1024.
  uint32_t evictions = 0;
  // strict only: what a fence completes reaches the device in any order, not in that of the
  // flushes; in the same one for the same lines.
  bool shuffle = false;
  // Of what is chosen at random: the same seed and the same events give the same choices.
  uint64_t seed = 1;
  // Bytes of each device that a host holds; beyond that its oldest pages leave. At least one page.
  uint64_t capacity = uint64_t{64} << 20;

  bool strict() const { return order == Order::strict; }
};

// Reads "strict" or "lenient", then any of ",seed=N", ",evict=N" (without N: 64), ",shuffle" and
// ",capacity=N" (MiB), such as "strict,evict=32,seed=7". Throws std::invalid_argument with what was
// wrong, where, and what is allowed.
Policy parse_policy(std::string_view text);

// The same in full, as results show it: parse_policy(describe(p)) is p.
std::string describe(const Policy& policy);

}  // namespace noncoherent
