// SPDX-License-Identifier: Apache-2.0
#include "fuse/message_hook.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <new>
#include <utility>

#include "base/error.h"
#include "fuse/no_cancellation.h"
#include "kmap/uapi.h"

namespace famfs::fuse {
namespace {

using namespace kmap;

// More than the replies that are changed have; what is longer passes as it is.
constexpr std::size_t kMostChanged = 256;

// The message that this thread has read last and not answered.
struct Current {
  std::uint64_t unique = 0;
  std::uint32_t opcode = 0;
  std::uint64_t backing_id = 0;
};
thread_local Current current;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

ssize_t write_all(int fd, std::span<const std::byte> message) {
  return ::write(fd, message.data(), message.size());
}

// The errno of what `act` throws, 0 if it does not; logged where it is not an application's doing.
template <typename Act>
int errno_of(Act act) {
  try {
    act();
    return 0;
  } catch (const base::Error& error) {
    spdlog::error("{}", error.what());
    return error.code();
  } catch (const std::bad_alloc&) {
    spdlog::error("out of memory");
    return ENOMEM;
  } catch (const std::exception& error) {
    spdlog::error("unexpected: {}", error.what());
    return EIO;
  }
}

}  // namespace

void MessageHook::name_backing(std::uint64_t id) { current.backing_id = id; }

void MessageHook::resume(InitExchange past) {
  init_ = std::move(past);
  resumed_ = true;
  repeat_init_ = true;
}

ssize_t MessageHook::read(int fd, void* buffer, std::size_t size) {
  if (repeat_init_.exchange(false)) {
    const std::span<const std::byte> request(init_.request);
    if (request.size() > size) {
      errno = EINVAL;
      return -1;
    }
    std::memcpy(buffer, request.data(), request.size());
    consume(fd, request);
    return static_cast<ssize_t>(request.size());
  }
  while (true) {
    const ssize_t length = gate_.read(fd, buffer, size);
    if (length <= 0) return length;
    const NoCancellation guard;
    const std::span message(static_cast<const std::byte*>(buffer),
                            static_cast<std::size_t>(length));
    if (!consume(fd, message)) return length;
  }
}

bool MessageHook::consume(int fd, std::span<const std::byte> message) {
  const auto request = parse_request(message);
  if (!request) {
    current = {};
    return false;  // libfuse says what is wrong with it
  }
  current = {request->unique, request->opcode, 0};
  if (request->opcode == uapi::kInit) {
    offer_ = parse_init(request->body, Generation::of_this_kernel());
    if (!resumed_) init_.request.assign(message.begin(), message.end());
    return false;
  }
  if (request->opcode != uapi::kGetFmap && request->opcode != uapi::kGetDaxdev) return false;
  std::optional<std::vector<std::byte>> answer;
  const int error = errno_of([&] { answer = client_.answer_unknown(*request); });
  if (error == 0 && !answer) return false;
  const std::vector<std::byte> body = answer.value_or(std::vector<std::byte>());
  if (const int failed = send_reply(fd, request->unique, error, body); failed != 0) {
    spdlog::error("the kernel does not take the answer to message {} of node {}: {}",
                  request->opcode, request->node, std::strerror(failed));
    // A request that nobody answers waits for ever.
    send_reply(fd, request->unique, EIO, {});
  }
  return true;
}

ssize_t MessageHook::writev(int fd, const iovec* parts, int count) {
  const std::span message(parts, static_cast<std::size_t>(std::max(count, 0)));
  if (const auto unique = unique_of_reply(message); unique && *unique == current.unique) {
    if (current.opcode == uapi::kInit) return write_init(fd, message);
    if (current.opcode == uapi::kOpen && current.backing_id != 0) return write_open(fd, message);
  }
  return ::writev(fd, parts, count);
}

ssize_t MessageHook::write_init(int fd, std::span<const iovec> parts) {
  std::vector<std::byte> message = join(parts, kMostChanged);
  const bool agreed = edit_init_reply(message, client_.init_answer());
  if (resumed_) {
    if (agreed && message == init_.reply) {
      client_.init_answered(fd);
    } else {
      client_.init_differs();
    }
    return static_cast<ssize_t>(message.size());
  }
  if (!agreed) return ::writev(fd, parts.data(), static_cast<int>(parts.size()));
  const ssize_t written = write_all(fd, message);
  if (written >= 0) {
    init_.reply = message;
    client_.init_answered(fd);
  }
  return written;
}

ssize_t MessageHook::write_open(int fd, std::span<const iovec> parts) {
  std::vector<std::byte> message = join(parts, kMostChanged);
  if (!grow_open_reply(message, current.backing_id)) {
    return ::writev(fd, parts.data(), static_cast<int>(parts.size()));
  }
  return write_all(fd, message);
}

}  // namespace famfs::fuse
