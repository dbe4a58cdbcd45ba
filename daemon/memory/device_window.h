// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/file_descriptor.h"
#include "kmap/encode.h"
#include "kmap/message.h"
#include "kmap/offer.h"
#include "kmap/private_mount.h"

namespace famfs::memory {

// Ranges of a dax device whose driver has no mmap (fsdev_dax), as files that have one: files of a
// FUSE mount of our own, in no directory, which the kernel maps straight to the device. A thread
// answers the few messages of opening; touching the memory sends none, so whoever answers may
// fault, and the thread itself never touches the memory.
//
// The kernel lets a byte of a device belong to one file only: a range that a window has is in no
// file of any mount of this machine, and the other way round (EBUSY).
class DeviceWindow {
 public:
  // Throws base::Error: EOPNOTSUPP if this kernel maps no files (with what is missing), EPERM
  // without the privileges for it.
  explicit DeviceWindow(const std::string& device);
  DeviceWindow(const DeviceWindow&) = delete;
  DeviceWindow& operator=(const DeviceWindow&) = delete;
  // Only when nothing is mapped any more.
  ~DeviceWindow();

  struct Part {
    std::uint64_t offset = 0;  // on the device
    std::uint64_t length = 0;
  };

  // A descriptor of the file that is [offset, offset + length) of the device, multiples of 4096.
  base::FileDescriptor open(const Part& part, bool writable);

 private:
  void serve() noexcept;
  void answer(const kmap::Request& request);
  std::vector<std::byte> body_for(const kmap::Request& request);
  kmap::Map map_of(std::uint64_t node);

  const std::string device_;
  kmap::PrivateMount mount_;
  kmap::Protocol protocol_;
  std::mutex mutex_;         // guards parts_
  std::vector<Part> parts_;  // node id - 2; the name of a file is its place here
  base::FileDescriptor stop_;
  std::jthread server_;
};

}  // namespace famfs::memory
