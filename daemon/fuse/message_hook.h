// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "fuse/reader_gate.h"
#include "kmap/message.h"
#include "kmap/offer.h"

namespace famfs::fuse {

// Who knows what libfuse does not.
class MessageClient {
 public:
  virtual ~MessageClient() = default;

  // What the answer to FUSE_INIT must say besides what libfuse says.
  virtual kmap::InitAnswer init_answer() const = 0;
  // The kernel has the answer to FUSE_INIT.
  virtual void init_answered(int fuse_fd) noexcept = 0;
  // The reply to FUSE_INIT is not the one that the kernel had from the program before this.
  virtual void init_differs() noexcept = 0;
  // The body of the answer to a message of an opcode that libfuse does not know; nullopt leaves it
  // to libfuse. What it throws becomes the answer.
  virtual std::optional<std::vector<std::byte>> answer_unknown(const kmap::Request& request) = 0;

 protected:
  MessageClient() = default;
  MessageClient(const MessageClient&) = default;
  MessageClient& operator=(const MessageClient&) = default;
};

// FUSE_INIT and the reply that the kernel had, as they passed through /dev/fuse.
struct InitExchange {
  std::vector<std::byte> request;
  std::vector<std::byte> reply;
};

// Between libfuse and /dev/fuse: sees every message that libfuse reads and writes, as bytes.
//
// It takes from FUSE_INIT what libfuse hides, adds to the answer, answers opcodes that libfuse does
// not know, and makes replies to OPEN name a backing object. Every other message passes as it is,
// without a copy: libfuse reads into and writes from the same buffers as without it, and this
// daemon uses no splice(2) that could get lost.
//
// Thread safety: a thread of libfuse reads a message and writes the answer to it; messages of other
// threads never meet here, so the state of one is the thread's own.
class MessageHook {
 public:
  // `client` must outlive this object.
  explicit MessageHook(MessageClient& client) : client_(client) {}

  // As read(2) and writev(2); for fuse_custom_io. A thread may be cancelled while it waits in
  // read(), and nowhere else.
  ssize_t read(int fd, void* buffer, std::size_t size);
  ssize_t writev(int fd, const iovec* parts, int count);

  // Holds the threads that read messages.
  ReaderGate& gate() { return gate_; }

  // For who serves this connection after this program. Empty before init_answered().
  const InitExchange& init_exchange() const { return init_; }
  // Before the first read(): the kernel has said FUSE_INIT to another program and will not again.
  // libfuse gets that message, and its reply, which must be the same, goes nowhere.
  void resume(InitExchange past);

  // The kernel's FUSE_INIT; nullopt before it was read.
  const std::optional<kmap::Offer>& offer() const { return offer_; }

  // The reply that this thread is about to send to the OPEN that it has read names this object.
  static void name_backing(std::uint64_t id);

 private:
  // True if the message is answered and not for libfuse.
  bool consume(int fd, std::span<const std::byte> message);
  ssize_t write_init(int fd, std::span<const iovec> parts);
  static ssize_t write_open(int fd, std::span<const iovec> parts);

  MessageClient& client_;
  ReaderGate gate_;
  InitExchange init_;
  std::atomic<bool> repeat_init_ = false;  // init_ is the past, and libfuse is yet to get it
  bool resumed_ = false;
  std::optional<kmap::Offer> offer_;
};

}  // namespace famfs::fuse
