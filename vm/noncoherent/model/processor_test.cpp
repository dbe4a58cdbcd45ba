// SPDX-License-Identifier: Apache-2.0
#include "model/processor.h"

#include <gtest/gtest.h>

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
  Processor second(host.counters);
  host.store(0, 1);
  host.clwb(0);
  second.full_fence();
  EXPECT_EQ(reader.load(0), 0u);
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
