// SPDX-License-Identifier: Apache-2.0
#include "mapping/kernel_mapped.h"

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/error.h"
#include "kmap/devices.h"
#include "kmap/uapi.h"

namespace famfs::mapping {
namespace {

constexpr std::uint32_t kFirstDevice = 0;

constexpr std::uint64_t backing_of(tree::NodeId id) noexcept { return kmap::kFirstMapBacking + id; }

}  // namespace

std::string_view KernelMapped::consequence() const noexcept {
  return "the kernel reads, writes and maps files itself, straight in the shared memory; what is "
         "written through a mapping reaches other hosts when its cache lines are written back "
         "(`famfs flush`)";
}

void KernelMapped::init(fuse_conn_info& connection) {
  // Nothing is cached, so there is nothing to write back or to drop when times change.
  connection.want &= ~static_cast<unsigned>(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_AUTO_INVAL_DATA);
}

void KernelMapped::connected(int fuse_fd) {
  fuse_fd_ = fuse_fd;
  tell_device(kFirstDevice);
}

void KernelMapped::resumed(int fuse_fd, const Given& given) {
  const std::scoped_lock lock(mutex_);
  fuse_fd_ = fuse_fd;
  told_.insert(given.devices.begin(), given.devices.end());
  sent_.insert(given.maps.begin(), given.maps.end());
}

Given KernelMapped::given() const {
  const std::scoped_lock lock(mutex_);
  return {{told_.begin(), told_.end()}, {sent_.begin(), sent_.end()}};
}

void KernelMapped::tell_device(std::uint32_t index) {
  // Also for one that the kernel has: it may be another file system's by now.
  const std::string path = volume_.device(index).name();
  const std::scoped_lock lock(mutex_);
  if (protocol_ == kmap::Protocol::kFmapV10 || told_.contains(index)) return;
  kmap::announce_device(protocol_, fuse_fd_, index, path);
  told_.insert(index);
  ++devices_told_;
}

void KernelMapped::tell_devices(const kmap::Map& map) {
  for (const kmap::Strip& strip : map.strips) {
    if (strip.device != kFirstDevice) tell_device(strip.device);
  }
}

kmap::Map KernelMapped::map_of(tree::NodeId id) {
  const auto tree = volume_.tree();
  const tree::Node* node = tree->find(id);
  if (node == nullptr) throw base::Error(ESTALE, "no node {}", id);
  if (node->directory) throw base::Error(EISDIR, "node {} is a directory", id);
  kmap::Map map{node->size, node->map.chunk_size, {}};
  for (const media::Extent& extent : node->map.extents) {
    const std::uint64_t device =
        std::min<std::uint64_t>(extent.device_index, std::numeric_limits<std::uint32_t>::max());
    map.strips.push_back({static_cast<std::uint32_t>(device), extent.offset, extent.length});
  }
  if (const std::string why = kmap::misfit(protocol_, map); !why.empty()) {
    ++refused_;
    throw base::Error(ENODEV, "/{} cannot be mapped with method {}: {}", tree->path_of(id), name(),
                      why);
  }
  return map;
}

std::uint64_t KernelMapped::open(tree::NodeId id, fuse_file_info& answer) {
  answer.direct_io = 0;
  answer.keep_cache = 0;
  // Also where the kernel asks for it later: the reason is in the log before the open fails.
  const kmap::Map map = map_of(id);
  tell_devices(map);
  if (protocol_ != kmap::Protocol::kExtentMap) return 0;
  send_map(id, map);
  return backing_of(id);
}

void KernelMapped::send_map(tree::NodeId id, const kmap::Map& map) {
  const std::scoped_lock lock(mutex_);
  // A map that is sent after the withdrawal would outlive it.
  if (withdrawn_) throw base::Error(ESTALE, "the file system was replaced");
  if (sent_.contains(id)) return;
  kmap::send_notification(fuse_fd_, kmap::uapi::kNotifyBackingMap,
                          kmap::encode_backing_map(backing_of(id), map, kmap::kFirstDeviceBacking),
                          fmt::format("the map of node {}", id));
  sent_.insert(id);
  ++maps_told_;
}

std::optional<std::vector<std::byte>> KernelMapped::answer(const kmap::Request& request) {
  if (protocol_ == kmap::Protocol::kExtentMap) return std::nullopt;
  if (request.opcode == kmap::uapi::kGetFmap) {
    auto bytes = kmap::encode_fmap(map_of(request.node));
    ++maps_told_;
    return bytes;
  }
  if (request.opcode == kmap::uapi::kGetDaxdev) {
    // Its kernel takes files on the first device only.
    if (request.node != kFirstDevice) {
      throw base::Error(ENODEV, "the kernel asks for device {}; there is only {}", request.node,
                        kFirstDevice);
    }
    ++devices_told_;
    return kmap::body_of(kmap::encode_daxdev(kFirstDevice, volume_.memory().name()));
  }
  return std::nullopt;
}

void KernelMapped::read(fuse_req_t /*request*/, tree::NodeId id, std::uint64_t /*offset*/,
                        std::size_t /*size*/) {
  throw base::Error(EIO, "the kernel asks for data of node {}, which it has a map of", id);
}

void KernelMapped::write(fuse_req_t /*request*/, tree::NodeId id, std::uint64_t /*offset*/,
                         std::span<const std::byte> /*data*/) {
  throw base::Error(EIO, "the kernel sends data of node {}, which it has a map of", id);
}

void KernelMapped::flush(tree::NodeId /*id*/) {
  // The daemon cannot reach the file's lines; who has the file mapped writes them back.
  volume_.check_current();
}

void KernelMapped::withdraw() noexcept {
  const std::scoped_lock lock(mutex_);
  withdrawn_ = true;
  for (const tree::NodeId id : sent_) {
    const kmap::uapi::BackingRemove remove{backing_of(id), 0};
    try {
      kmap::send_notification(fuse_fd_, kmap::uapi::kNotifyBackingRemove, kmap::bytes_of(remove),
                              "to forget a map");
    } catch (const base::Error&) {
      // The connection has ended, and the maps with it.
      return;
    }
  }
  sent_.clear();
}

Statistics KernelMapped::statistics() const { return {maps_told_, devices_told_, refused_}; }

}  // namespace famfs::mapping
