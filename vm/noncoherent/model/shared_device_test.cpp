// SPDX-License-Identifier: Apache-2.0
#include "model/shared_device.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <new>
#include <thread>

#include "model/testing.h"

namespace noncoherent {
namespace {

Line filled(uint8_t value) {
  Line line;
  line.fill(std::byte{value});
  return line;
}

TEST(SharedDevice, StoresTheBytesThatAreNamed) {
  testing::Device device;
  device.shared.commit(3, filled(1), kAll);
  device.shared.commit(3, filled(2), bits(8, 4));
  const Line line = device.shared.fetch_line(3);
  for (unsigned i = 0; i < kLineSize; ++i) {
    EXPECT_EQ(line[i], std::byte(i >= 8 && i < 12 ? 2 : 1)) << i;
  }
  EXPECT_EQ(device.shared.fetch_line(2), filled(0));
  EXPECT_EQ(device.shared.fetch_line(4), filled(0));
}

// Whoever reads a line, or a page, sees each line whole.
TEST(SharedDevice, LinesAreWhole) {
  testing::Device device;
  std::jthread writer([&](std::stop_token stop) {
    for (uint8_t value = 0; !stop.stop_requested(); ++value) {
      device.shared.commit(5, filled(value), kAll);
    }
  });
  for (int i = 0; i < 100'000; ++i) {
    Page page;
    device.shared.fetch_page(0, page);
    const Line line = device.shared.fetch_line(5);
    ASSERT_EQ(line, filled(static_cast<uint8_t>(line[0])));
    Line of_page;
    std::copy_n(page.begin() + 5 * kLineSize, kLineSize, of_page.begin());
    ASSERT_EQ(of_page, filled(static_cast<uint8_t>(of_page[0])));
  }
}

// A host that is killed while it writes a line leaves the old one or the new one, and no lock.
TEST(SharedDevice, KilledWriterLeavesAWholeLine) {
  constexpr size_t kSize = 16 * kPageSize;
  void* const shared = mmap(nullptr, kSize + sizeof(LineLocks), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  auto* const memory = static_cast<std::byte*>(shared);
  auto* const locks = new (memory + kSize) LineLocks;
  locks->prepare();
  SharedDevice device({memory, kSize}, *locks);
  for (int round = 0; round < 200; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (uint8_t value = 0;; ++value) device.commit(9, filled(value), kAll);
    }
    usleep(500 + round * 7);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const Line line = device.fetch_line(9);
    ASSERT_EQ(line, filled(static_cast<uint8_t>(line[0]))) << "round " << round;
  }
  munmap(shared, kSize + sizeof(LineLocks));
}

// The same for the moment that a kill seldom meets.
TEST(SharedDevice, UnfinishedLineIsFinished) {
  testing::Device device;
  LineLocks::Stripe& stripe = device.locks->stripes[0];
  std::thread([&] {
    pthread_mutex_lock(&stripe.mutex);
    stripe.bytes = filled(7);
    stripe.unfinished = 1 + 1;
    device.memory.data()[kLineSize] = std::byte{7};  // one byte of it is written
  }).join();                                         // and the thread is gone with the lock
  EXPECT_EQ(device.shared.fetch_line(1), filled(7));
  EXPECT_EQ(stripe.unfinished, 0u);
  EXPECT_EQ(device.shared.fetch_line(1), filled(7));
}

}  // namespace
}  // namespace noncoherent
