// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/fuse.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "fuse/filesystem.h"
#include "fuse/hooked_io.h"

namespace famfs::testing {

using Bytes = std::vector<std::byte>;

// The parts of a message's body, one after the other; strings with their NUL.
inline void append_part(Bytes& body, std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  body.insert(body.end(), bytes.begin(), bytes.end());
  body.push_back(std::byte{0});
}
template <typename T>
  requires std::is_trivially_copyable_v<T> && (!std::is_convertible_v<T, std::string_view>)
void append_part(Bytes& body, const T& part) {
  const auto bytes = std::as_bytes(std::span(&part, 1));
  body.insert(body.end(), bytes.begin(), bytes.end());
}
template <typename... Parts>
Bytes body_of(const Parts&... parts) {
  Bytes body;
  (append_part(body, parts), ...);
  return body;
}

// Plays the kernel to a Filesystem behind libfuse, without a mount: so that it can be asked what no
// kernel asks. One request at a time, answered in the caller's thread.
class FuseKernel {
 public:
  static constexpr unsigned kTimeout = 60;  // seconds that the kernel may keep what it is told

  struct Answer {
    bool given = false;  // false: no answer at all
    int error = 0;       // a positive errno
    Bytes body{};
  };

  explicit FuseKernel(volume::Volume& volume)
      : filesystem_(volume, {"/run/of/test", "daemon-served", kTimeout}) {
    filesystem_.negotiated = [this](const base::Error* error) { refused_ = error != nullptr; };
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      throw base::system_error("socketpair");
    }
    kernel_ = base::FileDescriptor(ends[0]);
    const int largest = 4 << 20;
    for (const int end : ends) {
      setsockopt(end, SOL_SOCKET, SO_SNDBUFFORCE, &largest, sizeof(largest));
    }
    char name[] = "famfsd";
    std::array<char*, 1> words{name};
    fuse_args arguments{1, words.data(), 0};
    session_.reset(fuse_session_new(&arguments, &fuse::Filesystem::operations(),
                                    sizeof(fuse_lowlevel_ops), &filesystem_));
    fuse_opt_free_args(&arguments);
    fuse::install_hook(session_.get(), ends[1]);  // the session closes it
    fuse_init_in in{};
    in.major = FUSE_KERNEL_VERSION;
    in.minor = FUSE_KERNEL_MINOR_VERSION;
    in.flags = FUSE_DO_READDIRPLUS | FUSE_MAX_PAGES | FUSE_BIG_WRITES;
    if (ask(FUSE_INIT, 0, body_of(in)).error != 0 || refused_) {
      throw base::Error(EPROTO, "FUSE_INIT was refused");
    }
  }
  FuseKernel(const FuseKernel&) = delete;
  FuseKernel& operator=(const FuseKernel&) = delete;
  ~FuseKernel() = default;

  // As a process of `uid`, which is in no group but 0.
  Answer ask(std::uint32_t opcode, std::uint64_t node, const Bytes& body, std::uint32_t uid = 0) {
    fuse_in_header header{};
    header.uid = uid;
    header.len = static_cast<std::uint32_t>(sizeof(header) + body.size());
    header.opcode = opcode;
    header.unique = unique_ += 2;
    header.nodeid = node;
    Bytes message = body_of(header);
    message.insert(message.end(), body.begin(), body.end());
    if (::send(kernel_.get(), message.data(), message.size(), 0) < 0) {
      throw base::system_error("send");
    }
    fuse_buf buffer{};
    if (fuse_session_receive_buf(session_.get(), &buffer) > 0) {
      fuse_session_process_buf(session_.get(), &buffer);
    }
    std::free(buffer.mem);  // NOLINT(cppcoreguidelines-no-malloc): libfuse's own
    return answer();
  }

 private:
  struct Destroy {
    void operator()(fuse_session* session) const { fuse_session_destroy(session); }
  };

  Answer answer() {
    Bytes message(4 << 20);
    const ssize_t length = ::recv(kernel_.get(), message.data(), message.size(), MSG_DONTWAIT);
    fuse_out_header header{};
    if (length < static_cast<ssize_t>(sizeof(header))) return {};
    std::memcpy(&header, message.data(), sizeof(header));
    return {true, -header.error, Bytes(message.begin() + sizeof(header), message.begin() + length)};
  }

  fuse::Filesystem filesystem_;
  bool refused_ = false;
  base::FileDescriptor kernel_;
  std::unique_ptr<fuse_session, Destroy> session_;
  std::uint64_t unique_ = 0;
};

}  // namespace famfs::testing
