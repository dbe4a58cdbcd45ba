// SPDX-License-Identifier: Apache-2.0
#include "memory/device_window.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <exception>

#include "base/error.h"
#include "kmap/devices.h"
#include "kmap/encode.h"
#include "kmap/uapi.h"

namespace famfs::memory {
namespace {

using namespace kmap;

constexpr std::uint64_t kRoot = 1;
constexpr std::uint64_t kFirstPart = 2;
constexpr std::size_t kReadBuffer = 128U << 10;
constexpr std::uint64_t kForever = 31536000;  // seconds that the kernel may keep attributes

Protocol choose(const Offer& offer, const std::string& device) {
  if (const auto protocol = best(offer)) return *protocol;
  throw base::Error(EOPNOTSUPP,
                    "{} is bound to fsdev_dax, and this kernel cannot map files of it: {}; {}. "
                    "With device_dax it needs none of that (--set-daxmode)",
                    device, missing(Protocol::kExtentMap, offer), missing(Protocol::kFmap, offer));
}

uapi::Attr attributes(std::uint64_t node, std::uint64_t size) {
  uapi::Attr attr{};
  attr.ino = node;
  attr.size = size;
  attr.mode = node == kRoot ? S_IFDIR | S_IRUSR | S_IXUSR : S_IFREG | S_IRUSR | S_IWUSR;
  attr.nlink = 1;
  attr.uid = geteuid();
  attr.gid = getegid();
  attr.blksize = 4096;
  return attr;
}

bool wants_answer(std::uint32_t opcode) noexcept {
  return opcode != uapi::kForget && opcode != uapi::kBatchForget && opcode != uapi::kInterrupt;
}

}  // namespace

DeviceWindow::DeviceWindow(const std::string& device)
    : device_(device), protocol_(choose(mount_.offer(), device)), stop_(eventfd(0, EFD_CLOEXEC)) {
  if (!stop_) throw base::system_error("eventfd");
  mount_.accept(protocol_);
  announce_device(protocol_, mount_.fuse(), 0, device_);
  // Signals are for the threads that wait for them.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  server_ = std::jthread([this] { serve(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

DeviceWindow::~DeviceWindow() {
  mount_.close_root();
  const std::uint64_t one = 1;
  while (write(stop_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

base::FileDescriptor DeviceWindow::open(const Part& part, bool writable) {
  std::string name;
  std::uint64_t node = 0;
  {
    const std::scoped_lock lock(mutex_);
    name = std::to_string(parts_.size());
    node = kFirstPart + parts_.size();
    parts_.push_back(part);
  }
  const Map map = map_of(node);
  if (const std::string why = misfit(protocol_, map); !why.empty()) {
    throw base::Error(EINVAL, "{}: {} bytes at {} cannot be mapped: {}", device_, part.length,
                      part.offset, why);
  }
  if (protocol_ == Protocol::kExtentMap) {
    send_notification(mount_.fuse(), uapi::kNotifyBackingMap,
                      encode_backing_map(kFirstMapBacking + node, map, kFirstDeviceBacking),
                      "the map of " + device_);
  }
  base::FileDescriptor file(
      openat(mount_.root(), name.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC));
  if (!file) {
    const int error = errno;
    throw base::Error(error, "{}: {} bytes at {} cannot be mapped: {}{}", device_, part.length,
                      part.offset, std::strerror(error),
                      error == EBUSY ? " (they are in use by another mount or program of this "
                                       "machine; unmount it first)"
                                     : "");
  }
  return file;
}

Map DeviceWindow::map_of(std::uint64_t node) {
  const std::scoped_lock lock(mutex_);
  if (node < kFirstPart || node - kFirstPart >= parts_.size()) {
    throw base::Error(ENOENT, "{}: no part {}", device_, node);
  }
  const Part& part = parts_[node - kFirstPart];
  return {part.length, 0, {{0, part.offset, part.length}}};
}

void DeviceWindow::serve() noexcept {
  std::vector<std::byte> buffer(kReadBuffer);
  std::array<pollfd, 2> wanted{pollfd{mount_.fuse(), POLLIN, 0}, pollfd{stop_.get(), POLLIN, 0}};
  while (true) {
    if (poll(wanted.data(), wanted.size(), -1) < 0) continue;
    if (wanted[1].revents != 0) return;
    const ssize_t length = read(mount_.fuse(), buffer.data(), buffer.size());
    if (length < 0) {
      if (errno == EINTR || errno == EAGAIN || errno == ENOENT) continue;
      return;  // ENODEV: the last user is gone
    }
    if (const auto request =
            parse_request(std::span(buffer).first(static_cast<std::size_t>(length)))) {
      answer(*request);
    }
  }
}

void DeviceWindow::answer(const Request& request) {
  if (!wants_answer(request.opcode)) return;
  int error = 0;
  std::vector<std::byte> body;
  try {
    body = body_for(request);
  } catch (const base::Error& failure) {
    error = failure.code();
  } catch (const std::exception&) {
    error = ENOMEM;
  }
  // A connection that is ending takes no answers; the next read says so too.
  send_reply(mount_.fuse(), request.unique, error, body);
}

std::vector<std::byte> DeviceWindow::body_for(const Request& request) {
  switch (request.opcode) {
    case uapi::kLookup: {
      const auto* text = reinterpret_cast<const char*>(request.body.data());
      std::uint64_t index = 0;
      const auto parsed = std::from_chars(text, text + request.body.size(), index);
      if (parsed.ec != std::errc() || request.node != kRoot) {
        throw base::Error(ENOENT, "no such part");
      }
      uapi::EntryOut out{};
      out.nodeid = kFirstPart + index;
      out.entry_valid = out.attr_valid = kForever;
      out.attr = attributes(out.nodeid, map_of(out.nodeid).size);
      return body_of(out);
    }
    case uapi::kGetattr: {
      uapi::AttrOut out{};
      out.attr_valid = kForever;
      out.attr = attributes(request.node, request.node == kRoot ? 0 : map_of(request.node).size);
      return body_of(out);
    }
    case uapi::kOpen: {
      uapi::OpenOut out{};
      // A process that is killed closes its files when its threads are gone: a FLUSH that nobody
      // answers would keep it from ending.
      out.open_flags = uapi::kFopenNoFlush;
      if (protocol_ == Protocol::kExtentMap) {
        out.open_flags |= uapi::kFopenPassthrough;
        out.backing_id_64 = kFirstMapBacking + request.node;
        return body_of(out);
      }
      auto bytes = body_of(out);
      bytes.resize(uapi::kOpenOutOldSize);
      return bytes;
    }
    case uapi::kGetFmap:
      return encode_fmap(map_of(request.node));
    case uapi::kGetDaxdev:
      if (request.node != 0) throw base::Error(ENODEV, "no device {}", request.node);
      return body_of(encode_daxdev(0, device_));
    case uapi::kRelease:
    case uapi::kDestroy:
      return {};
    default:
      throw base::Error(ENOSYS, "not needed");
  }
}

}  // namespace famfs::memory
