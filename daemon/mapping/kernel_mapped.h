// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <unordered_set>

#include "kmap/encode.h"
#include "mapping/method.h"

namespace famfs::mapping {

// The kernel is told where the bytes of a file are and then reads, writes and maps them itself: the
// daemon sees no access. In the protocols with GET_FMAP the kernel asks when a file is opened
// first; in the other the daemon sends the map before it answers the open, and keeps it for the
// life of the mount, as it does the file's node.
//
// A file that the protocol cannot describe is refused at open with ENODEV. It is not served by the
// daemon: on a device in this mode the daemon has no access to file data.
class KernelMapped final : public Method {
 public:
  KernelMapped(volume::Volume& volume, kmap::Protocol protocol)
      : volume_(volume), protocol_(protocol) {}

  std::string_view name() const noexcept override { return kmap::name_of(protocol_); }
  std::string_view consequence() const noexcept override;
  bool loads_past_daemon() const noexcept override { return true; }
  void init(fuse_conn_info& connection) override;
  kmap::InitAnswer init_answer() const noexcept override { return kmap::init_answer(protocol_); }
  void connected(int fuse_fd) override;
  void resumed(int fuse_fd, const Given& given) override;
  Given given() const override;
  std::uint64_t open(tree::NodeId id, fuse_file_info& answer) override;
  std::optional<std::vector<std::byte>> answer(const kmap::Request& request) override;
  void read(fuse_req_t request, tree::NodeId id, std::uint64_t offset, std::size_t size) override;
  void write(fuse_req_t request, tree::NodeId id, std::uint64_t offset,
             std::span<const std::byte> data) override;
  void flush(tree::NodeId id) override;
  void withdraw() noexcept override;
  Statistics statistics() const override;

 private:
  kmap::Map map_of(tree::NodeId id);
  void tell_device(std::uint32_t index);
  // Those that a map names, the first left out. Throws EIO for one that is missing.
  void tell_devices(const kmap::Map& map);
  void send_map(tree::NodeId id, const kmap::Map& map);

  volume::Volume& volume_;
  const kmap::Protocol protocol_;
  int fuse_fd_ = -1;                        // of the session, which outlives this
  mutable std::mutex mutex_;                // guards the three below; held while the kernel is told
  std::unordered_set<std::uint32_t> told_;  // devices
  std::unordered_set<tree::NodeId> sent_;
  bool withdrawn_ = false;
  std::atomic<std::uint64_t> maps_told_{0};
  std::atomic<std::uint64_t> devices_told_{0};
  std::atomic<std::uint64_t> refused_{0};
};

}  // namespace famfs::mapping
