// SPDX-License-Identifier: Apache-2.0
// Contract: every message arrives once and in order between hosts that see each other's memory only
// by write-back and invalidation, also when one end dies anywhere; damage is told, not followed.
#include "pcq/queue.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <string>

#include "base/bytes.h"
#include "base/test_pattern.h"
#include "memory/open.h"
#include "testing/temporary_directory.h"

namespace famfs::pcq {
namespace {

using ::famfs::testing::error_code_of;

constexpr Geometry kGeometry{120, 5};  // buckets that share lines

class QueueTest : public ::testing::Test {
 protected:
  QueueTest() { format(*open(producer_), *open(consumer_), kGeometry); }

  // Each opening is a host with a cache of its own.
  static std::unique_ptr<memory::SharedMemory> open(const std::string& path, bool writable = true) {
    return memory::open_memory(path,
                               writable ? memory::Access::kReadWrite : memory::Access::kReadOnly,
                               memory::Backend::kNoncoherent);
  }
  Producer producer() { return {open(producer_), open(consumer_, false)}; }
  Consumer consumer() { return {open(producer_, false), open(consumer_)}; }

  static std::vector<std::byte> message(uint64_t number) {
    std::vector<std::byte> bytes(kGeometry.payload());
    base::TestPattern(static_cast<uint32_t>(number)).fill(bytes);
    return bytes;
  }
  static void expect_message(Consumer& consumer, uint64_t number) {
    std::vector<std::byte> got(kGeometry.payload());
    ASSERT_EQ(consumer.next(), number);
    ASSERT_TRUE(consumer.get(got));
    ASSERT_EQ(got, message(number));
  }
  template <typename T>
  void patch(const std::string& path, uint64_t offset, T value) {
    const auto memory = open(path);
    std::array<std::byte, sizeof(T)> bytes{};
    base::store<T>(bytes, 0, value);
    memory->store(offset, bytes);
    memory->publish(offset, sizeof(T));
  }

  testing::TemporaryDirectory directory_;
  const std::string producer_ = directory_.sparse_file("queue", producer_file_size(kGeometry));
  const std::string consumer_ = directory_.sparse_file("queue.consumer", kHeaderSize);
};

TEST_F(QueueTest, MessagesArriveInOrder) {
  Producer p = producer();
  Consumer c = consumer();
  std::vector<std::byte> got(kGeometry.payload());
  EXPECT_FALSE(c.get(got));
  uint64_t sent = 0;
  uint64_t received = 0;
  for (int round = 0; round < 20; ++round) {
    while (p.put(message(sent))) ++sent;
    EXPECT_EQ(sent - received, kGeometry.buckets - 1);
    for (int i = 0; i <= round % 4; ++i) expect_message(c, received++);
  }
}

TEST_F(QueueTest, EndsGoOnWhereTheyWere) {
  for (uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(producer().put(message(i)));
  for (uint64_t i = 0; i < 3; ++i) {
    Consumer c = consumer();
    expect_message(c, i);
  }
  EXPECT_EQ(producer().next(), 3U);
}

TEST_F(QueueTest, AProducerThatDiedBeforeItsCounter) {
  ASSERT_TRUE(producer().put(message(0)));
  patch(producer_, 1064, uint64_t{0});
  Producer p = producer();
  EXPECT_EQ(p.next(), 1U);
  ASSERT_TRUE(p.put(message(1)));
  Consumer c = consumer();
  expect_message(c, 0);
  expect_message(c, 1);
}

TEST_F(QueueTest, AConsumerThatDiedBeforeItsCounter) {
  for (uint64_t i = 0; i < 2; ++i) ASSERT_TRUE(producer().put(message(i)));
  {
    Consumer c = consumer();
    expect_message(c, 0);
  }
  patch(consumer_, 16 + (1 << 20), uint64_t{0});
  Consumer c = consumer();
  std::vector<std::byte> got(kGeometry.payload());
  ASSERT_TRUE(c.get(got));
  EXPECT_EQ(got, message(1));
}

TEST_F(QueueTest, DamageIsTold) {
  for (uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(producer().put(message(i)));
  std::vector<std::byte> got(kGeometry.payload());
  patch(producer_, kHeaderSize + 10, uint8_t{1});
  EXPECT_EQ(error_code_of([&] { consumer().get(got); }), EBADMSG);
  // A message is missing.
  patch(consumer_, 8, uint64_t{2});
  EXPECT_EQ(error_code_of([&] { consumer().get(got); }), EILSEQ);
  patch(consumer_, 8, uint64_t{5});
  EXPECT_EQ(error_code_of([&] { consumer(); }), EUCLEAN);
  patch(producer_, 8, uint64_t{1} << 60);
  EXPECT_NE(error_code_of([&] { producer(); }), 0);
  patch(producer_, 0, uint64_t{7});
  EXPECT_EQ(error_code_of([&] { producer(); }), EUCLEAN);
}

TEST_F(QueueTest, FormatIsThatOfTheReference) {
  ASSERT_TRUE(producer().put(message(0)));
  const auto memory = open(producer_);
  const auto word = [&](uint64_t offset) {
    return base::load<uint64_t>(memory->view(offset, 8), 0);
  };
  EXPECT_EQ(word(0), 0xbeebee3U);
  EXPECT_EQ(word(8), 5U);
  EXPECT_EQ(word(16), 120U);
  EXPECT_EQ(word(24), 2U << 20);
  EXPECT_EQ(word(32), 1U);
  EXPECT_EQ(word(1064), 1U);
  EXPECT_EQ(word(1072), (2U << 20) + 600);
  EXPECT_EQ(word((2 << 20) + 104), 0U);  // seq
  const auto other = open(consumer_);
  EXPECT_EQ(base::load<uint32_t>(other->view(0, 4), 0), 0xbeebee4U);
}

TEST(Geometry, Limits) {
  EXPECT_EQ(producer_file_size({24, 2}), kHeaderSize + 48);
  for (const Geometry& bad : {Geometry{16, 2}, Geometry{20, 2}, Geometry{24, 1},
                              Geometry{1ull << 60, 1ull << 60}, Geometry{0, 0}}) {
    EXPECT_EQ(error_code_of([&] { producer_file_size(bad); }), EINVAL);
  }
}

}  // namespace
}  // namespace famfs::pcq
