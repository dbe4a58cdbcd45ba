// SPDX-License-Identifier: Apache-2.0
#include "model/processor.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "model/testing.h"

namespace noncoherent {
namespace {

using testing::Device;
using testing::Host;

TEST(Processor, WaitsOnlyForWhatAFenceCompletes) {
  Device device;
  Host host{device, "strict"};
  EXPECT_FALSE(host.processor.waiting());
  host.clwb(0);  // nothing is there
  EXPECT_FALSE(host.processor.waiting());
  host.store(0, 1);
  host.clwb(0);
  EXPECT_TRUE(host.processor.waiting());
  host.sfence();
  EXPECT_FALSE(host.processor.waiting());
  host.clflushopt(0);
  host.sfence();
  EXPECT_TRUE(host.processor.waiting());
  host.mfence();
  EXPECT_FALSE(host.processor.waiting());
}

// A fence is for its own processor's flushes.
TEST(Processor, OthersFenceDoesNotHelp) {
  Device device;
  Host host{device, "strict"}, reader{device, "strict"};
  Processor second(host.counters, Policy{});
  host.store(0, 1);
  host.clwb(0);
  second.full_fence();
  EXPECT_EQ(reader.load(0), 0u);
}

// The lines that reach the device, in order.
class Order final : public Gate {
 public:
  void commit(const Commit& commit, DirtyLines&) override {
    seen += static_cast<char>('a' + commit.line);
  }
  void fetch(unsigned, uint64_t, unsigned) override {}

  std::string seen;
};

// Flushes between two fences are in no order, those of different fences are.
TEST(Processor, ShufflesWhatOneFenceCompletes) {
  std::set<std::string> seen;
  for (int seed = 0; seed < 50; ++seed) {
    Device device;
    Order order;
    Host host{device, "strict,shuffle,seed=" + std::to_string(seed), &order};
    for (const uint64_t first : {0, 2}) {
      for (const uint64_t line : {first, first + 1}) {
        host.store(line * kLineSize, 1);
        host.clwb(line * kLineSize);
      }
      host.sfence();
    }
    seen.insert(order.seen);
  }
  EXPECT_EQ(seen, (std::set<std::string>{"abcd", "bacd", "abdc", "badc"}));
}

// Memory is bounded: of very many flushes the first are completed, and counted.
TEST(Processor, ManyFlushesWithoutAFence) {
  Device device;
  Host host{device, "strict"};
  for (int round = 0; round < 3; ++round) {
    for (uint64_t line = 0; line < device.shared.lines(); ++line) {
      host.store(line * kLineSize, line + round);
      host.clwb(line * kLineSize);
    }
  }
  EXPECT_GT(host.counters.early, 0u);
  host.sfence();
  for (uint64_t line = 0; line < device.shared.lines(); ++line) {
    EXPECT_EQ(static_cast<unsigned>(device.memory.data()[line * kLineSize]), (line + 2) & 0xff);
  }
}

}  // namespace
}  // namespace noncoherent
