// SPDX-License-Identifier: Apache-2.0
#include "mapping/daemon_served.h"

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "base/error.h"
#include "mapping/pieces.h"
#include "memory/dax_device.h"

namespace famfs::mapping {
namespace {

// writev(2) takes 1024 (IOV_MAX); libfuse adds one for the header.
constexpr std::size_t kMostPieces = 1000;

// Under the tree's lock only the map is looked up; the data is moved without it.
std::vector<Piece> locate(const volume::Volume& volume, tree::NodeId id, std::uint64_t offset,
                          std::uint64_t length, std::size_t most) {
  const auto tree = volume.tree();
  const tree::Node* node = tree->find(id);
  if (node == nullptr) throw base::Error(ESTALE, "no node {}", id);
  if (node->directory) throw base::Error(EISDIR, "node {} is a directory", id);
  return pieces(node->map, node->size, offset, length, most);
}

// Throws EIO for a device that is missing here, or whose files are out of reach.
memory::SharedMemory& device_of(volume::Volume& volume, const Piece& piece) {
  memory::SharedMemory& memory = volume.device(piece.device);
  if (memory.reaches_files()) return memory;
  throw base::Error(EIO,
                    "device {}: {} is bound to {}, and files of this mount are moved by the "
                    "daemon; bind it to {}",
                    piece.device, memory.name(), memory::kFileSystemDriver, memory::kDeviceDriver);
}

// Of each piece; throws as device_of().
std::vector<memory::SharedMemory*> memories_of(volume::Volume& volume,
                                               const std::vector<Piece>& pieces) {
  std::vector<memory::SharedMemory*> memories;
  memories.reserve(pieces.size());
  for (const Piece& piece : pieces) memories.push_back(&device_of(volume, piece));
  return memories;
}

// One fence for each device will do.
void fence(std::vector<memory::SharedMemory*> memories) {
  std::sort(memories.begin(), memories.end());
  memories.erase(std::unique(memories.begin(), memories.end()), memories.end());
  for (memory::SharedMemory* memory : memories) memory->fence();
}

}  // namespace

std::string_view DaemonServed::consequence() const noexcept {
  return "read and write go through the daemon; mmap with MAP_SHARED is refused (ENODEV), because "
         "the kernel would serve it from a page cache that other hosts' writes do not reach";
}

void DaemonServed::init(fuse_conn_info& connection) {
  // A write buffered in this kernel would be invisible to other hosts.
  connection.want &= ~static_cast<unsigned>(FUSE_CAP_WRITEBACK_CACHE);
}

std::uint64_t DaemonServed::open(tree::NodeId /*id*/, fuse_file_info& answer) {
  answer.direct_io = 1;
  answer.keep_cache = 0;
  return 0;
}

void DaemonServed::read(fuse_req_t request, tree::NodeId id, std::uint64_t offset,
                        std::size_t size) {
  const std::shared_lock lock(lock_of(id));
  std::vector<iovec> answer;
  for (const Piece& piece : locate(volume_, id, offset, size, kMostPieces)) {
    const auto bytes = device_of(volume_, piece).acquire(piece.offset, piece.length);
    // iovec serves both directions and so has no const.
    answer.push_back({const_cast<std::byte*>(bytes.data()), bytes.size()});
  }
  fuse_reply_iov(request, answer.data(), static_cast<int>(answer.size()));
}

void DaemonServed::write(fuse_req_t request, tree::NodeId id, std::uint64_t offset,
                         std::span<const std::byte> data) {
  const std::unique_lock lock(lock_of(id));
  const auto places = locate(volume_, id, offset, data.size(), kMostPieces);
  if (places.empty() && !data.empty()) {
    throw base::Error(ENOSPC,
                      "write at offset {} of node {}: a famfs file keeps the size that it "
                      "was created with",
                      offset, id);
  }
  // Before anything is stored: a write to a device that is missing changes none of the others.
  const auto memories = memories_of(volume_, places);
  std::size_t done = 0;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const Piece& piece = places[i];
    const std::span<std::byte> room = memories[i]->begin_write(piece.offset, piece.length);
    std::memcpy(room.data(), data.data() + done, room.size());
    memories[i]->write_back(piece.offset, piece.length);
    done += room.size();
  }
  // The answer must not be sent before the data is in memory.
  fence(memories);
  fuse_reply_write(request, done);
}

void DaemonServed::flush(tree::NodeId id) {
  constexpr std::uint64_t kAll = std::numeric_limits<std::uint64_t>::max();
  const std::unique_lock lock(lock_of(id));
  const auto places = locate(volume_, id, 0, kAll, std::numeric_limits<std::size_t>::max());
  const auto memories = memories_of(volume_, places);
  // Our own writes were written back before they were answered; lines that a program of this host
  // has stored into by the device itself are the same lines.
  for (std::size_t i = 0; i < places.size(); ++i) {
    memories[i]->write_back(places[i].offset, places[i].length);
  }
  fence(memories);
  for (std::size_t i = 0; i < places.size(); ++i) {
    memories[i]->acquire(places[i].offset, places[i].length);
  }
}

}  // namespace famfs::mapping
