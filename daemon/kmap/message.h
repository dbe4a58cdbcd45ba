// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "kmap/offer.h"

// FUSE messages as bytes, each checked against the bytes that are there before a field is looked
// at.
namespace famfs::kmap {

struct Request {
  std::uint32_t opcode = 0;
  std::uint64_t unique = 0;
  std::uint64_t node = 0;
  std::span<const std::byte> body{};  // of the message that it was parsed from
};

// What was read from /dev/fuse. nullopt for anything that is not one whole message.
std::optional<Request> parse_request(std::span<const std::byte> message) noexcept;

// The unique number of a reply that is about to be written; nullopt for a notification and for
// what is not a message. Looks at the first part only, which must hold the header.
std::optional<std::uint64_t> unique_of_reply(std::span<const iovec> parts) noexcept;

// A message in parts as one. Empty if it has more than `limit` bytes.
std::vector<std::byte> join(std::span<const iovec> parts, std::size_t limit);

// Adds `answer` to a reply to FUSE_INIT. False, and nothing changed, if it is an error or too short
// to say it.
bool edit_init_reply(std::span<std::byte> message, const InitAnswer& answer) noexcept;

// Makes a reply to OPEN name a backing object. False, and nothing changed, if it is an error or
// does not have the size that libfuse gives it.
bool grow_open_reply(std::vector<std::byte>& message, std::uint64_t backing_id);

// Sends a reply: `error` is 0 or a positive errno, without a body then. Returns 0 or an errno;
// ENOENT, which says that nobody waits for it any more, is 0.
int send_reply(int fuse_fd, std::uint64_t unique, int error, std::span<const std::byte> body);

// Sends a notification. Throws base::Error with the kernel's answer; `what` is for its message.
void send_notification(int fuse_fd, std::int32_t code, std::span<const std::byte> body,
                       std::string_view what);

// A structure's bytes.
template <typename T>
std::span<const std::byte> bytes_of(const T& value) noexcept {
  return std::as_bytes(std::span(&value, 1));
}

// The same as a message's body of their own.
template <typename T>
std::vector<std::byte> body_of(const T& value) {
  const auto bytes = bytes_of(value);
  return {bytes.begin(), bytes.end()};
}

}  // namespace famfs::kmap
