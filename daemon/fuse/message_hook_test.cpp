// SPDX-License-Identifier: Apache-2.0
// Contract: the hook changes the answer to FUSE_INIT and to a marked OPEN, answers what libfuse
// does not know, and lets every other byte pass; crafted messages do it no harm.
#include "fuse/message_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <random>
#include <thread>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "kmap/uapi.h"

namespace famfs::fuse {
namespace {

namespace uapi = kmap::uapi;
using kmap::bytes_of;
using Bytes = std::vector<std::byte>;

template <typename... Parts>
Bytes message(const Parts&... parts) {
  Bytes all;
  const auto add = [&all](std::span<const std::byte> bytes) {
    all.insert(all.end(), bytes.begin(), bytes.end());
  };
  (add(bytes_of(parts)), ...);
  const auto length = static_cast<std::uint32_t>(all.size());
  std::memcpy(all.data(), &length, sizeof(length));
  return all;
}

uapi::InHeader header(std::uint32_t opcode, std::uint64_t unique, std::uint64_t node = 5) {
  uapi::InHeader result{};
  result.opcode = opcode;
  result.unique = unique;
  result.nodeid = node;
  return result;
}

template <typename T>
T at(const Bytes& bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, std::span(bytes).subspan(offset, sizeof(T)).data(), sizeof(T));
  return value;
}

class Client : public MessageClient {
 public:
  kmap::InitAnswer init_answer() const override { return answer; }
  void init_answered(int fuse_fd) noexcept override { answered_on = fuse_fd; }
  void init_differs() noexcept override { differs = true; }
  std::optional<Bytes> answer_unknown(const kmap::Request& request) override {
    asked.push_back(request.opcode);
    if (request.node == 404) throw base::Error(ENOENT, "nothing there");
    if (request.node == 1) return std::nullopt;
    return Bytes(3, std::byte{7});
  }

  kmap::InitAnswer answer{};
  int answered_on = -1;
  bool differs = false;
  std::vector<std::uint32_t> asked;
};

// The kernel is the other end of a socket that keeps messages apart, as /dev/fuse does.
class Hook : public testing::Test {
 protected:
  void SetUp() override {
    std::array<int, 2> ends{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    kernel_ = base::FileDescriptor(ends[0]);
    fuse_ = base::FileDescriptor(ends[1]);
  }
  void kernel_sends(const Bytes& bytes) {
    ASSERT_EQ(send(kernel_.get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
  }
  // What the kernel got; empty if nothing.
  Bytes kernel_gets() {
    Bytes buffer(65536);
    const ssize_t length = recv(kernel_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    buffer.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
    return buffer;
  }
  Bytes libfuse_reads() {
    Bytes buffer(65536);
    const ssize_t length = hook_.read(fuse_.get(), buffer.data(), buffer.size());
    buffer.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
    return buffer;
  }
  // In two parts, as libfuse does it.
  void libfuse_writes(Bytes bytes) {
    const std::size_t first = std::min<std::size_t>(bytes.size(), 16);
    std::array<iovec, 2> parts{iovec{bytes.data(), first},
                               iovec{bytes.data() + first, bytes.size() - first}};
    EXPECT_EQ(hook_.writev(fuse_.get(), parts.data(), 2), static_cast<ssize_t>(bytes.size()));
  }
  void exchange(const Bytes& request) {
    kernel_sends(request);
    EXPECT_EQ(libfuse_reads(), request);
  }

  base::FileDescriptor kernel_;
  base::FileDescriptor fuse_;
  Client client_;
  MessageHook hook_{client_};
};

Bytes init_request() {
  uapi::InitIn in{};
  in.major = 7;
  in.minor = 46;
  in.flags = 1U << 30;
  in.flags2 = 1U << 30;
  return message(header(uapi::kInit, 2), in);
}

TEST_F(Hook, InitIsSeenAndItsAnswerChanged) {
  client_.answer = kmap::init_answer(kmap::Protocol::kFmap);
  exchange(init_request());
  ASSERT_TRUE(hook_.offer());
  EXPECT_TRUE(hook_.offer()->has(uapi::kDaxFmap));
  const auto reply = message(uapi::OutHeader{0, 0, 2}, uapi::InitOut{});
  std::array<iovec, 1> whole{iovec{const_cast<std::byte*>(reply.data()), reply.size()}};
  EXPECT_EQ(hook_.writev(fuse_.get(), whole.data(), 1), 80);
  const Bytes got = kernel_gets();
  ASSERT_EQ(got.size(), 80U);
  EXPECT_EQ(at<uapi::InitOut>(got, 16).flags2, 1U << 30);
  EXPECT_EQ(client_.answered_on, fuse_.get());
}

TEST_F(Hook, RefusedInitIsNotAnswered) {
  exchange(init_request());
  libfuse_writes(message(uapi::OutHeader{0, -EPROTO, 2}));
  EXPECT_EQ(kernel_gets(), message(uapi::OutHeader{0, -EPROTO, 2}));
  EXPECT_EQ(client_.answered_on, -1);
}

TEST_F(Hook, MarkedOpenGrowsAndTheNextDoesNot) {
  exchange(message(header(uapi::kOpen, 4), std::uint64_t{0}));
  MessageHook::name_backing(1029);
  const auto reply = message(uapi::OutHeader{0, 0, 4}, std::uint64_t{1}, std::uint64_t{0});
  std::array<iovec, 1> whole{iovec{const_cast<std::byte*>(reply.data()), reply.size()}};
  EXPECT_EQ(hook_.writev(fuse_.get(), whole.data(), 1), 40);
  const Bytes got = kernel_gets();
  ASSERT_EQ(got.size(), 40U);
  EXPECT_EQ(at<uapi::OpenOut>(got, 16).backing_id_64, 1029U);

  exchange(message(header(uapi::kOpen, 6), std::uint64_t{0}));
  const auto plain = message(uapi::OutHeader{0, 0, 6}, std::uint64_t{1}, std::uint64_t{0});
  libfuse_writes(plain);
  EXPECT_EQ(kernel_gets(), plain);
}

TEST_F(Hook, RefusalOfAMarkedOpenStaysAsItIs) {
  exchange(message(header(uapi::kOpen, 4), std::uint64_t{0}));
  MessageHook::name_backing(1029);
  libfuse_writes(message(uapi::OutHeader{0, -EBUSY, 4}));
  EXPECT_EQ(kernel_gets(), message(uapi::OutHeader{0, -EBUSY, 4}));
}

TEST_F(Hook, RepliesToOtherMessagesAndNotificationsPass) {
  exchange(message(header(uapi::kOpen, 4), std::uint64_t{0}));
  MessageHook::name_backing(1029);
  const auto other = message(uapi::OutHeader{0, 0, 8}, std::uint64_t{1}, std::uint64_t{0});
  libfuse_writes(other);
  EXPECT_EQ(kernel_gets(), other);
  const auto notification = message(uapi::OutHeader{0, 2, 0}, std::uint64_t{1}, std::uint64_t{0});
  libfuse_writes(notification);
  EXPECT_EQ(kernel_gets(), notification);
}

TEST_F(Hook, UnknownOpcodesAreAnsweredAndLibfuseGetsTheNextMessage) {
  kernel_sends(message(header(uapi::kGetFmap, 10)));
  kernel_sends(message(header(uapi::kGetDaxdev, 12, 404)));
  const auto statfs = message(header(uapi::kStatfs, 14));
  kernel_sends(statfs);
  EXPECT_EQ(libfuse_reads(), statfs);
  EXPECT_THAT(client_.asked, testing::ElementsAre(54, 55));
  EXPECT_EQ(kernel_gets(),
            message(uapi::OutHeader{0, 0, 10}, std::byte{7}, std::byte{7}, std::byte{7}));
  EXPECT_EQ(kernel_gets(), message(uapi::OutHeader{0, -ENOENT, 12}));
}

TEST_F(Hook, WhatTheClientDoesNotKnowIsLibfuses) {
  exchange(message(header(uapi::kGetFmap, 10, 1)));
  EXPECT_TRUE(kernel_gets().empty());
}

TEST_F(Hook, LargeDataPasses) {
  exchange(message(header(16, 20), std::array<std::byte, 40000>{}));
  const auto data = message(uapi::OutHeader{0, 0, 20}, std::array<std::byte, 40000>{});
  libfuse_writes(data);
  EXPECT_EQ(kernel_gets(), data);
}

TEST_F(Hook, CraftedMessagesAreLeftToLibfuse) {
  std::mt19937 random(1);
  const Bytes init = init_request();
  for (int round = 0; round < 5000; ++round) {
    Bytes bytes = round % 2 == 0 ? init : message(header(uapi::kGetFmap, 10, 1), std::uint64_t{1});
    bytes.resize(1 + random() % bytes.size());
    for (int change = 0; change < 3; ++change) {
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    }
    kernel_sends(bytes);
    // Where the opcode still is one of ours the client answers, and the next message is read.
    kernel_sends(message(header(uapi::kStatfs, 14)));
    if (libfuse_reads() == bytes) libfuse_reads();
    while (!kernel_gets().empty()) {
    }
    Bytes reply(1 + random() % 100);
    for (std::byte& byte : reply) byte = static_cast<std::byte>(random());
    std::array<iovec, 1> whole{iovec{reply.data(), reply.size()}};
    EXPECT_GT(hook_.writev(fuse_.get(), whole.data(), 1), 0);
    kernel_gets();
  }
}

class Resumed : public Hook {
 protected:
  void SetUp() override {
    Hook::SetUp();
    MessageHook before(client_);
    kernel_sends(message(header(uapi::kInit, 2, 0), uapi::InitIn{}));
    std::array<std::byte, 4096> buffer{};
    ASSERT_GT(before.read(fuse_.get(), buffer.data(), buffer.size()), 0);
    write_reply(before, reply_);
    past_ = before.init_exchange();
    EXPECT_EQ(kernel_gets(), past_.reply);
    client_.answered_on = -1;
  }
  void write_reply(MessageHook& hook, Bytes reply) {
    const iovec part{reply.data(), reply.size()};
    EXPECT_EQ(hook.writev(fuse_.get(), &part, 1), static_cast<ssize_t>(reply.size()));
  }
  Bytes read_all(MessageHook& hook) {
    Bytes got(4096);
    const ssize_t length = hook.read(fuse_.get(), got.data(), got.size());
    got.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
    return got;
  }

  Bytes reply_ = message(uapi::OutHeader{0, 0, 2}, uapi::InitOut{});
  InitExchange past_;
};

TEST_F(Resumed, LibfuseGetsTheMessageOfThePastAndTheKernelNoReply) {
  MessageHook hook(client_);
  hook.resume(past_);
  EXPECT_EQ(read_all(hook), past_.request);
  EXPECT_TRUE(hook.offer().has_value());
  write_reply(hook, reply_);
  EXPECT_EQ(kernel_gets(), Bytes());
  EXPECT_EQ(client_.answered_on, fuse_.get());
  EXPECT_FALSE(client_.differs);
  EXPECT_EQ(hook.init_exchange().request, past_.request);
  EXPECT_EQ(hook.init_exchange().reply, past_.reply);
  const Bytes next = message(header(uapi::kStatfs, 4));
  kernel_sends(next);
  EXPECT_EQ(read_all(hook), next);
}

TEST_F(Resumed, AnotherReplyIsNoAgreement) {
  MessageHook hook(client_);
  hook.resume(past_);
  read_all(hook);
  reply_.back() ^= std::byte{1};
  write_reply(hook, reply_);
  EXPECT_EQ(kernel_gets(), Bytes());
  EXPECT_EQ(client_.answered_on, -1);
  EXPECT_TRUE(client_.differs);
}

#ifndef __SANITIZE_ADDRESS__  // which reports the stack of any thread that is cancelled
TEST_F(Hook, AWaitingThreadCanBeCancelled) {
  std::thread reader([&] {
    Bytes buffer(4096);
    hook_.read(fuse_.get(), buffer.data(), buffer.size());
  });
  pthread_cancel(reader.native_handle());
  reader.join();
}
#endif

}  // namespace
}  // namespace famfs::fuse
