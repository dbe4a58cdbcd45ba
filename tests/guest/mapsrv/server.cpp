// SPDX-License-Identifier: Apache-2.0
#include "mapsrv/server.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "mapsrv/check.h"

namespace mapsrv {
namespace {

constexpr std::uint64_t kFirstNode = 2;
constexpr std::size_t kRequestBuffer = 1 << 20;

}  // namespace

Server::Server(Method method, std::vector<std::string> devices, bool takes_unoffered)
    : method_(method), devices_(std::move(devices)) {
  misbehaviour.takes_unoffered = takes_unoffered;
  mkdir(kMountPoint, 0755);
  fuse_ = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fuse_ < 0) throw CannotGoOn(std::string("/dev/fuse: ") + std::strerror(errno));
  const std::string options =
      "fd=" + std::to_string(fuse_) + ",rootmode=40000,user_id=0,group_id=0,allow_other";
  if (::mount("mapsrv", kMountPoint, "fuse.mapsrv", 0, options.c_str()) != 0) {
    const int error = errno;
    close(fuse_);
    throw CannotGoOn(std::string("mount: ") + std::strerror(error));
  }
  thread_ = std::thread(&Server::serve, this);
  // The kernel sends nothing else before it has taken the answer to FUSE_INIT.
  struct stat status{};
  stat((std::string(kMountPoint) + "/none").c_str(), &status);
}

Server::~Server() {
  // Else closing a file of this mount at exit would wait for an answer of this very process.
  umount2(kMountPoint, MNT_FORCE);
  umount2(kMountPoint, MNT_DETACH);
  thread_.join();
  close(fuse_);
}

File& Server::add(const std::string& name, std::uint64_t size) {
  File file;
  file.name = name;
  file.node = kFirstNode + files_.size();
  file.size = size;
  files_.push_back(std::move(file));
  return files_.back();
}

int Server::messages() const {
  int all = 0;
  for (const auto& count : counts_) all += count;
  return all;
}

int Server::notify(int code, std::span<const std::byte> head,
                   std::span<const std::byte> data) const {
  fuse_out_header header{};
  header.len = static_cast<std::uint32_t>(sizeof(header) + head.size() + data.size());
  header.error = code;
  iovec parts[3] = {{&header, sizeof(header)},
                    {const_cast<std::byte*>(head.data()), head.size()},
                    {const_cast<std::byte*>(data.data()), data.size()}};
  return writev(fuse_, parts, data.empty() ? 2 : 3) < 0 ? errno : 0;
}

int Server::withdraw(std::uint64_t node) const {
  fuse_notify_inval_inode_out out{};
  out.ino = static_cast<decltype(out.ino)>(node);
  return notify(FUSE_NOTIFY_INVAL_INODE, bytes_of(out));
}

void Server::serve() {
  std::vector<std::byte> buffer(kRequestBuffer);
  for (;;) {
    const ssize_t got = read(fuse_, buffer.data(), buffer.size());
    if (got < 0) {
      if (errno == EINTR || errno == ENOENT || errno == EAGAIN) continue;
      return;  // unmounted, or the connection was ended
    }
    fuse_in_header header;
    std::memcpy(&header, buffer.data(), sizeof(header));
    answer(header, buffer.data() + sizeof(header));
  }
}

void Server::answer(const fuse_in_header& header, const std::byte* body) {
  if (header.opcode < counts_.size()) ++counts_[header.opcode];
  switch (header.opcode) {
    case FUSE_INIT:
      return answer_init(header, *reinterpret_cast<const fuse_init_in*>(body));
    case FUSE_LOOKUP:
      return answer_lookup(header, reinterpret_cast<const char*>(body));
    case FUSE_GETATTR:
    case FUSE_SETATTR: {
      if (header.opcode == FUSE_SETATTR &&
          (reinterpret_cast<const fuse_setattr_in*>(body)->valid & FATTR_SIZE) != 0) {
        std::printf("server: a change of size arrived, which the kernel has to refuse\n");
      }
      fuse_attr_out out{};
      out.attr_valid = 1;
      out.attr = attributes(header.nodeid);
      return reply(header, 0, &out, sizeof(out));
    }
    case FUSE_OPEN:
      return answer_open(header);
    case FUSE_OPENDIR: {
      const abi::OpenOut out{header.nodeid, 0, 0, 0};
      return reply(header, 0, &out, abi::kOpenOutShort);
    }
    case abi::kGetFmap:
      return answer_get_fmap(header);
    case abi::kGetDaxdev:
      return answer_get_daxdev(header);
    case FUSE_READ: {  // of a file that is not mapped
      const std::vector<char> content(reinterpret_cast<const fuse_read_in*>(body)->size, kServed);
      return reply(header, 0, content.data(), content.size());
    }
    case FUSE_STATFS: {
      const fuse_statfs_out out{};
      return reply(header, 0, &out, sizeof(out));
    }
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_FLUSH:
    case FUSE_FSYNC:
    case FUSE_DESTROY:
      return reply(header, 0);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
      return;  // want no answer
    default:
      reply(header, ENOSYS);
  }
}

void Server::answer_init(const fuse_in_header& header, const fuse_init_in& in) {
  const std::uint64_t offered = in.flags | static_cast<std::uint64_t>(in.flags2) << 32;
  std::uint64_t wanted = FUSE_INIT_EXT;
  wanted |= method_ == Method::kFmap ? abi::kInitDaxFmap
                                     : abi::kInitPassthrough | abi::kInitPassthroughV2;
  if (!misbehaviour.takes_unoffered) wanted &= offered;
  offered_ = offered;
  fuse_init_out out{};
  out.major = 7;
  out.minor = 46;
  out.max_readahead = in.max_readahead;
  out.max_write = 65536;
  out.max_background = 12;
  out.time_gran = 1;
  out.max_stack_depth = 1;
  out.flags = static_cast<std::uint32_t>(wanted);
  out.flags2 = static_cast<std::uint32_t>(wanted >> 32);
  reply(header, 0, &out, sizeof(out));
}

void Server::answer_lookup(const fuse_in_header& header, const char* name) {
  for (const File& file : files_) {
    if (file.name != name) continue;
    fuse_entry_out out{};
    out.nodeid = file.node;
    out.attr = attributes(file.node);
    return reply(header, 0, &out, sizeof(out));
  }
  reply(header, ENOENT);
}

void Server::answer_open(const fuse_in_header& header) {
  abi::OpenOut out{};
  out.fh = header.nodeid;
  if (method_ == Method::kFmap || file(header.nodeid)->backing == 0)
    return reply(header, 0, &out, abi::kOpenOutShort);
  out.open_flags = FOPEN_PASSTHROUGH;
  out.backing_id_64 = file(header.nodeid)->backing;
  reply(header, 0, &out, misbehaviour.open_size);
}

void Server::answer_get_fmap(const fuse_in_header& header) {
  const File& asked = *file(header.nodeid);
  if (misbehaviour.withdrawals > 0) {
    --misbehaviour.withdrawals;
    withdraw(asked.node);
  }
  const bool first = header.len == sizeof(header);
  const std::size_t size =
      asked.header_first && first ? sizeof(abi::FmapHeader) : asked.fmap.size();
  reply(header, 0, asked.fmap.data(), size);
}

void Server::answer_get_daxdev(const fuse_in_header& header) {
  abi::DaxdevOut out{};
  out.index = static_cast<std::uint16_t>(header.nodeid + misbehaviour.index_shift);
  const bool known = header.nodeid < devices_.size();
  const std::string& name = known ? devices_[header.nodeid] : misbehaviour.name_of_others;
  if (name.empty()) return reply(header, ENODEV);
  name.copy(out.name, sizeof(out.name));
  reply(header, 0, &out, sizeof(out));
}

void Server::reply(const fuse_in_header& header, int error, const void* data,
                   std::size_t size) const {
  fuse_out_header out{};
  out.len = static_cast<std::uint32_t>(sizeof(out) + size);
  out.error = -error;
  out.unique = header.unique;
  iovec parts[2] = {{&out, sizeof(out)}, {const_cast<void*>(data), size}};
  // ENOENT: who asked was interrupted meanwhile.
  if (writev(fuse_, parts, size > 0 ? 2 : 1) < 0 && errno != ENOENT)
    std::printf("server: reply to message %u: %s\n", header.opcode, std::strerror(errno));
}

fuse_attr Server::attributes(std::uint64_t node) const {
  fuse_attr attributes{};
  attributes.ino = node;
  attributes.nlink = 1;
  attributes.blksize = 4096;
  attributes.mode = node < kFirstNode ? S_IFDIR | 0755 : S_IFREG | 0755;
  if (node >= kFirstNode) attributes.size = file(node)->size;
  return attributes;
}

const File* Server::file(std::uint64_t node) const { return &files_.at(node - kFirstNode); }

}  // namespace mapsrv
