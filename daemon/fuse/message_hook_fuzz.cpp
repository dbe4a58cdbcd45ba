// SPDX-License-Identifier: Apache-2.0
// The hook between libfuse and the kernel over arbitrary messages and replies: it ends, answers
// what is its own, passes every other byte as it is, and never grows a message but INIT and OPEN.
//
// Input: pieces of one kind byte, one length byte and so many bytes. Kinds, modulo 4: a message of
// the kernel; the same with its length field set right and one of our opcodes; a reply of libfuse;
// a reply to the last message.
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file_descriptor.h"
#include "fuse/message_hook.h"
#include "kmap/uapi.h"

using namespace famfs;

namespace {

namespace uapi = kmap::uapi;
using Bytes = std::vector<std::byte>;

constexpr std::array kOpcodes{uapi::kInit, uapi::kOpen, uapi::kGetFmap, uapi::kGetDaxdev,
                              uapi::kStatfs};
constexpr std::size_t kLongest = 4096;

void require(bool holds) {
  if (!holds) std::abort();
}

class Client final : public fuse::MessageClient {
 public:
  kmap::InitAnswer init_answer() const override { return kmap::init_answer(protocol); }
  void init_answered(int /*fuse_fd*/) noexcept override {}
  void init_differs() noexcept override {}
  std::optional<Bytes> answer_unknown(const kmap::Request& request) override {
    if (request.node % 3 == 0) throw base::Error(ENOENT, "nothing there");
    if (request.node % 3 == 1) return std::nullopt;
    return Bytes(request.node % 100, std::byte{7});
  }

  kmap::Protocol protocol = kmap::Protocol::kFmap;
};

struct Rig {
  Rig() {
    spdlog::set_level(spdlog::level::off);
    std::array<int, 2> ends{};
    require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) ==
            0);
    kernel = base::FileDescriptor(ends[0]);
    libfuse = base::FileDescriptor(ends[1]);
  }

  Bytes kernel_gets() const {
    Bytes got(2 * kLongest);
    const ssize_t length = recv(kernel.get(), got.data(), got.size(), 0);
    got.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
    return got;
  }

  base::FileDescriptor kernel;
  base::FileDescriptor libfuse;
};

// The kernel sends `message`; libfuse gets the same, or nothing and the kernel an answer.
void send_message(const Rig& rig, fuse::MessageHook& hook, const Bytes& message) {
  require(send(rig.kernel.get(), message.data(), message.size(), 0) ==
          static_cast<ssize_t>(message.size()));
  Bytes got(message.size());  // no longer, so that reading past it is found
  const ssize_t length = hook.read(rig.libfuse.get(), got.data(), got.size());
  if (length >= 0) {
    got.resize(static_cast<std::size_t>(length));
    require(got == message);
    require(rig.kernel_gets().empty());
    return;
  }
  // Answered by the hook, which then found no other message.
  const Bytes answer = rig.kernel_gets();
  require(answer.size() >= sizeof(uapi::OutHeader) && rig.kernel_gets().empty());
  require(base::load<std::uint32_t>(answer, 0) == answer.size());
  require(base::load<std::uint64_t>(answer, 8) == base::load<std::uint64_t>(message, 8));
}

// libfuse writes `reply` in two parts; the kernel gets the same, but for what answers INIT or OPEN.
void send_reply(const Rig& rig, fuse::MessageHook& hook, const kmap::Request& last, Bytes reply,
                std::size_t split) {
  if (reply.empty()) return;
  split = std::min(split, reply.size());
  std::array<iovec, 2> parts{iovec{reply.data(), split},
                             iovec{reply.data() + split, reply.size() - split}};
  require(hook.writev(rig.libfuse.get(), parts.data(), 2) > 0);
  const Bytes got = rig.kernel_gets();
  require(rig.kernel_gets().empty());
  const bool answers =
      reply.size() >= sizeof(uapi::OutHeader) && base::load<std::uint64_t>(reply, 8) == last.unique;
  if (answers && last.opcode == uapi::kOpen && got.size() != reply.size()) {
    require(got.size() == sizeof(uapi::OutHeader) + sizeof(uapi::OpenOut));
    require(base::load<std::uint32_t>(got, 0) == got.size());
  } else if (answers && last.opcode == uapi::kInit) {
    require(got.size() == reply.size());
  } else {
    require(got == reply);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Rig rig;
  Client client;
  fuse::MessageHook hook(client);
  kmap::Request last;
  // What a thread has read last outlives the hook; this is no message, and so nothing.
  send_message(rig, hook, Bytes(1));
  std::span<const uint8_t> input(data, size);
  if (!input.empty()) client.protocol = static_cast<kmap::Protocol>(input.front() % 3);
  while (input.size() > 2) {
    const unsigned kind = input[0];
    const std::size_t length = std::min<std::size_t>(input[1], input.size() - 2);
    const auto bytes = std::as_bytes(input.subspan(2, length));
    Bytes message(bytes.begin(), bytes.end());
    input = input.subspan(2 + length);
    if (kind % 4 < 2) {
      if (message.empty()) continue;  // the end of the file, to a socket
      if (kind % 4 == 1 && message.size() >= sizeof(uapi::InHeader)) {
        base::store<std::uint32_t>(message, 0, static_cast<std::uint32_t>(message.size()));
        base::store<std::uint32_t>(message, 4, kOpcodes.at(kind / 4 % kOpcodes.size()));
      }
      send_message(rig, hook, message);
      last = kmap::parse_request(message).value_or(kmap::Request{});
      last.body = {};
    } else {
      if (message.size() >= sizeof(uapi::OutHeader)) {
        base::store<std::uint32_t>(message, 0, static_cast<std::uint32_t>(message.size()));
        if (kind / 4 % 2 == 0) base::store<std::uint32_t>(message, 4, 0);
        if (kind % 4 == 3) base::store<std::uint64_t>(message, 8, last.unique);
        if (kind / 8 % 2 == 0) fuse::MessageHook::name_backing(kind);
      }
      send_reply(rig, hook, last, message, std::size_t{kind} / 16 * 8);
    }
  }
  return 0;
}
