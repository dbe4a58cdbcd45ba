// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <shared_mutex>

#include "mapping/method.h"

namespace famfs::mapping {

// The daemon itself moves the data, so any kernel will do: every read(2) and write(2) is a message.
//
// Read: the lines of the range are invalidated, then the kernel copies straight from the mapping
// of the device. Write: the data is stored, written back and fenced before the answer, so a
// finished write is in shared memory. Files are opened with FOPEN_DIRECT_IO: a page cache in this
// host would hide what other hosts write. The kernel therefore refuses a shared mmap(2) of these
// files with ENODEV.
class DaemonServed final : public Method {
 public:
  static constexpr std::string_view kName = "daemon-served";

  explicit DaemonServed(volume::Volume& volume) : volume_(volume) {}

  std::string_view name() const noexcept override { return kName; }
  std::string_view consequence() const noexcept override;
  void init(fuse_conn_info& connection) override;
  std::uint64_t open(tree::NodeId id, fuse_file_info& answer) override;
  void read(fuse_req_t request, tree::NodeId id, std::uint64_t offset, std::size_t size) override;
  void write(fuse_req_t request, tree::NodeId id, std::uint64_t offset,
             std::span<const std::byte> data) override;
  void flush(tree::NodeId id) override;

 private:
  static constexpr std::size_t kLocks = 64;

  std::shared_mutex& lock_of(tree::NodeId id) { return locks_[id % kLocks]; }

  volume::Volume& volume_;
  // Exclusive while a file is written, shared while it is read: an invalidation between a store and
  // its write-back may lose the store. Files never share a line. Taken one at a time, and before
  // the locks of Volume.
  std::array<std::shared_mutex, kLocks> locks_;
};

}  // namespace famfs::mapping
