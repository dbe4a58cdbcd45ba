// SPDX-License-Identifier: Apache-2.0
// Contract: a closed gate holds every reader between two messages, loses none, and lets them go on.
#include "fuse/reader_gate.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <semaphore>
#include <thread>

#include "base/file_descriptor.h"

namespace famfs::fuse {
namespace {

using namespace std::chrono_literals;

class Gate : public ::testing::Test {
 protected:
  void SetUp() override {
    std::array<int, 2> ends{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    kernel_ = base::FileDescriptor(ends[0]);
    fuse_ = base::FileDescriptor(ends[1]);
  }
  // Reads until the other end is closed.
  std::jthread reader() {
    return std::jthread([this] {
      char byte = 0;
      while (true) {
        const ssize_t length = gate_.read(fuse_.get(), &byte, 1);
        if (length == 0) return;
        if (length > 0) ++got_;
        if (length < 0 && errno == EINTR) ++interrupted_;
      }
    });
  }
  void send_one() { ASSERT_EQ(send(kernel_.get(), "x", 1, 0), 1); }

  ReaderGate gate_;
  base::FileDescriptor kernel_;
  base::FileDescriptor fuse_;
  std::atomic<int> got_ = 0;
  std::atomic<int> interrupted_ = 0;
};

TEST_F(Gate, HoldsReadersAndLosesNothing) {
  constexpr int kRounds = 200;
  std::atomic<int> sent = 0;
  {
    const std::array readers{reader(), reader(), reader()};
    std::jthread sender([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        send_one();
        ++sent;
        std::this_thread::yield();
      }
    });
    while (got_ == 0) std::this_thread::yield();  // a gate that nobody has come to holds nobody
    for (int round = 0; round < kRounds; ++round) {
      ASSERT_TRUE(gate_.close(60s));
      const int before = got_;
      std::this_thread::yield();
      EXPECT_EQ(got_, before);
      gate_.open();
    }
    sender = {};
    kernel_.reset();
  }
  EXPECT_EQ(got_, sent);
  EXPECT_GT(interrupted_, 0);  // one that is held may stay so over several rounds
}

TEST_F(Gate, WaitsForAReaderThatIsServing) {
  std::binary_semaphore serving{0};
  std::binary_semaphore serve{0};
  std::jthread busy([&] {
    char byte = 0;
    ASSERT_EQ(gate_.read(fuse_.get(), &byte, 1), 1);
    serving.release();
    serve.acquire();
    EXPECT_EQ(gate_.read(fuse_.get(), &byte, 1), -1);
    EXPECT_EQ(errno, EINTR);
  });
  send_one();
  serving.acquire();
  EXPECT_FALSE(gate_.close(20ms));
  // It is open again: a reader gets its message.
  auto other = reader();
  send_one();
  while (got_ < 1) std::this_thread::yield();
  serve.release();
  EXPECT_TRUE(gate_.close(60s));
  gate_.open();
  kernel_.reset();
}

TEST_F(Gate, ReadersThatHaveEndedAreNotWaitedFor) {
  auto one = reader();
  kernel_.reset();
  one = {};
  EXPECT_TRUE(gate_.close(60s));
}

}  // namespace
}  // namespace famfs::fuse
