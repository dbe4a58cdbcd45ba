// SPDX-License-Identifier: Apache-2.0
#include "kmap/message.h"

#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "kmap/uapi.h"

namespace famfs::kmap {
namespace {

constexpr std::size_t kExtensionUnit = 8;  // of total_extlen

std::span<const std::byte> view(const iovec& part) noexcept {
  return {static_cast<const std::byte*>(part.iov_base), part.iov_len};
}

// The structure at `offset`; nullopt if the bytes end before it does.
template <typename T>
std::optional<T> load(std::span<const std::byte> bytes, std::size_t offset = 0) noexcept {
  if (bytes.size() < offset || bytes.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

template <typename T>
void save(std::span<std::byte> bytes, std::size_t offset, const T& value) noexcept {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

// A reply that says success and is as long as it says.
bool is_success(std::span<const std::byte> message) noexcept {
  const auto header = load<uapi::OutHeader>(message);
  return header && header->error == 0 && header->unique != 0 && header->len == message.size();
}

int send(int fuse_fd, uapi::OutHeader header, std::span<const std::byte> body) noexcept {
  header.len = static_cast<std::uint32_t>(sizeof(header) + body.size());
  std::array<iovec, 2> parts{
      iovec{&header, sizeof(header)},
      // iovec serves both directions and so has no const.
      iovec{const_cast<std::byte*>(body.data()), body.size()},
  };
  return writev(fuse_fd, parts.data(), body.empty() ? 1 : 2) < 0 ? errno : 0;
}

}  // namespace

std::optional<Request> parse_request(std::span<const std::byte> message) noexcept {
  const auto header = load<uapi::InHeader>(message);
  if (!header || header->len != message.size()) return std::nullopt;
  const std::size_t extensions = header->total_extlen * kExtensionUnit;
  const std::size_t rest = message.size() - sizeof(uapi::InHeader);
  if (extensions > rest) return std::nullopt;
  return Request{header->opcode, header->unique, header->nodeid,
                 message.subspan(sizeof(uapi::InHeader), rest - extensions)};
}

std::optional<std::uint64_t> unique_of_reply(std::span<const iovec> parts) noexcept {
  if (parts.empty()) return std::nullopt;
  const auto header = load<uapi::OutHeader>(view(parts.front()));
  if (!header || header->unique == 0) return std::nullopt;
  return header->unique;
}

std::vector<std::byte> join(std::span<const iovec> parts, std::size_t limit) {
  std::vector<std::byte> all;
  for (const iovec& part : parts) {
    const auto bytes = view(part);
    if (bytes.size() > limit - all.size()) return {};
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  return all;
}

bool edit_init_reply(std::span<std::byte> message, const InitAnswer& answer) noexcept {
  constexpr std::size_t kBody = sizeof(uapi::OutHeader);
  auto out = load<uapi::InitOut>(message, kBody);
  if (!out || !is_success(message)) return false;
  const std::uint64_t flags = (out->flags | std::uint64_t{out->flags2} << 32) | answer.flags;
  out->flags = static_cast<std::uint32_t>(flags);
  out->flags2 = static_cast<std::uint32_t>(flags >> 32);
  if (answer.max_stack_depth != 0) out->max_stack_depth = answer.max_stack_depth;
  save(message, kBody, *out);
  return true;
}

bool grow_open_reply(std::vector<std::byte>& message, std::uint64_t backing_id) {
  constexpr std::size_t kBody = sizeof(uapi::OutHeader);
  if (message.size() != kBody + uapi::kOpenOutOldSize || !is_success(message)) return false;
  message.resize(kBody + sizeof(uapi::OpenOut));
  auto out = *load<uapi::OpenOut>(message, kBody);
  out.open_flags |= uapi::kFopenPassthrough;
  out.backing_id = 0;
  out.backing_id_64 = backing_id;
  save(std::span(message), kBody, out);
  auto header = *load<uapi::OutHeader>(message);
  header.len = static_cast<std::uint32_t>(message.size());
  save(std::span(message), 0, header);
  return true;
}

int send_reply(int fuse_fd, std::uint64_t unique, int error, std::span<const std::byte> body) {
  if (error != 0) body = {};
  const int failed = send(fuse_fd, {0, -error, unique}, body);
  return failed == ENOENT ? 0 : failed;
}

void send_notification(int fuse_fd, std::int32_t code, std::span<const std::byte> body,
                       std::string_view what) {
  if (const int error = send(fuse_fd, {0, code, 0}, body); error != 0) {
    throw base::Error(error, "the kernel refuses {}: {}", what, std::strerror(error));
  }
}

}  // namespace famfs::kmap
