// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "base/mapping.h"
#include "memory/device_window.h"
#include "memory/shared_memory.h"

namespace famfs::memory {

// The start of a dax device that cannot be mapped itself, as far as reach() was asked for: enough
// for superblock and log, while the rest is left to the files of a mount.
class WindowMemory final : public SharedMemory {
 public:
  // Over a window of its own.
  WindowMemory(std::string name, uint64_t size, bool writable);
  // Read-only, over parts that process `pid` shares: /proc/PID/fd is opened, which takes the right
  // to trace that process.
  WindowMemory(std::string name, uint64_t size, int pid, const std::vector<SharedPart>& parts);

  const char* backend() const noexcept override { return "window"; }
  void reach(uint64_t length) override;
  bool reaches_files() const noexcept override { return false; }
  std::vector<SharedPart> share() const override;

 private:
  struct Piece {
    DeviceWindow::Part part;
    base::FileDescriptor file;
  };

  void add(Piece piece);
  void write_back_lines(uint64_t offset, uint64_t length) override;
  void invalidate_lines(uint64_t offset, uint64_t length) override;
  void store_fence() override;
  void load_fence() override;

  std::unique_ptr<DeviceWindow> window_;  // null over another process's parts
  std::vector<Piece> pieces_;             // without gaps from offset 0
  base::Mapping range_;                   // addresses for the whole device, first to be unmapped
};

}  // namespace famfs::memory
