// SPDX-License-Identifier: Apache-2.0
#include "kmap/private_mount.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "kmap/message.h"
#include "kmap/uapi.h"

namespace famfs::kmap {
namespace {

constexpr std::size_t kReadBuffer = 128U << 10;  // the kernel refuses to fill less than 8 KiB
constexpr std::uint32_t kMinor = 46;             // the newest whose messages this code knows

void set(const base::FileDescriptor& context, const char* key, const std::string& value) {
  if (fsconfig(context.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0) != 0) {
    throw base::system_error(fmt::format("private mount: option {}={}", key, value));
  }
}

}  // namespace

PrivateMount::PrivateMount() : fuse_(base::open_file("/dev/fuse", O_RDWR | O_NONBLOCK)) {
  const base::FileDescriptor context(fsopen("fuse", FSOPEN_CLOEXEC));
  if (!context) throw base::system_error("private mount: fsopen");
  set(context, "source", "famfs");
  set(context, "subtype", "famfs-private");
  set(context, "fd", std::to_string(fuse_.get()));
  set(context, "rootmode", "40000");
  set(context, "user_id", std::to_string(geteuid()));
  set(context, "group_id", std::to_string(getegid()));
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    throw base::system_error("private mount: making it");
  }
  root_ = base::FileDescriptor(fsmount(context.get(), FSMOUNT_CLOEXEC,
                                       MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  if (!root_) throw base::system_error("private mount: fsmount");
  read_init();
}

void PrivateMount::read_init() {
  // There already: it is sent by the mount itself.
  std::vector<std::byte> buffer(kReadBuffer);
  const ssize_t length = read(fuse_.get(), buffer.data(), buffer.size());
  if (length < 0) throw base::system_error("private mount: reading FUSE_INIT");
  const auto request = parse_request(std::span(buffer).first(static_cast<std::size_t>(length)));
  if (!request || request->opcode != uapi::kInit) {
    throw base::Error(EPROTO, "private mount: the kernel's first message is not FUSE_INIT");
  }
  const auto offer = parse_init(request->body, Generation::of_this_kernel());
  if (!offer) {
    throw base::Error(EPROTO, "private mount: FUSE_INIT has {} bytes", request->body.size());
  }
  offer_ = *offer;
  init_unique_ = request->unique;
}

void PrivateMount::accept(Protocol protocol) {
  const InitAnswer answer = init_answer(protocol);
  const std::uint64_t flags = answer.flags & offer_.flags;
  uapi::InitOut out{};
  out.major = offer_.major;
  out.minor = std::min(offer_.minor, kMinor);
  out.flags = static_cast<std::uint32_t>(flags);
  out.flags2 = static_cast<std::uint32_t>(flags >> 32);
  out.max_stack_depth = answer.max_stack_depth;
  out.max_write = 65536;
  out.max_background = 12;
  out.time_gran = 1;
  if (const int error = send_reply(fuse_.get(), init_unique_, 0, bytes_of(out)); error != 0) {
    throw base::Error(error, "private mount: answering FUSE_INIT: {}", std::strerror(error));
  }
}

std::optional<Offer> probe_kernel() {
  try {
    return PrivateMount().offer();
  } catch (const base::Error& error) {
    if (error.code() == EPERM || error.code() == EACCES) return std::nullopt;
    throw;
  }
}

}  // namespace famfs::kmap
