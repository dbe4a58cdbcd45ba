// SPDX-License-Identifier: Apache-2.0
// Pages of the guest that are absent until the model fills them: userfaultfd(2) on shared memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "model/frames.h"
#include "plugin/descriptor.h"

namespace noncoherent {

// One userfaultfd of this process and the thread that answers it.
class UserFaults {
 public:
  // Opens it, with faults of the kernel on this process's behalf if the machine allows (reads and
  // writes of files and sockets from and to guest memory). Throws std::system_error.
  UserFaults();
  ~UserFaults();
  UserFaults(const UserFaults&) = delete;
  UserFaults& operator=(const UserFaults&) = delete;

  // Whether the kernel's own faults are delivered; if not, it gets EFAULT.
  bool of_kernel() const { return of_kernel_; }
  int descriptor() const { return descriptor_.get(); }

  // A range whose absent pages are from now on filled by `fill` (page number within the range).
  // To be called before run().
  void watch(std::byte* start, size_t size, std::function<void(uint64_t page)> fill);
  // Starts the thread. What `fill` throws is passed to `died`, in that thread.
  void run(std::function<void(const std::string& reason)> died);
  // Ends it: who touches an absent page from here on waits.
  void stop();

 private:
  struct Range {
    std::byte* start;
    size_t size;
    std::function<void(uint64_t page)> fill;
  };
  void answer();

  bool of_kernel_ = false;  // is set with the descriptor
  Descriptor descriptor_;
  Descriptor stop_;
  std::vector<Range> ranges_;
  std::function<void(const std::string& reason)> died_;
  std::thread thread_;
};

// The pages of one device in QEMU's mapping of `file`, which has to be empty. Lives in shared
// memory (tmpfs).
class GuestFrames final : public Frames {
 public:
  // `mapping` is where QEMU has the file mapped.
  GuestFrames(UserFaults& faults, MappedFile& file, std::byte* mapping)
      : faults_(faults), file_(file), mapping_(mapping) {}

  std::byte* data() override { return file_.bytes().data(); }
  void install(uint64_t page, const Page& bytes) override;
  void hold(uint64_t page) override;
  void release(uint64_t page) override;
  void discard(uint64_t page) override;
  void wake(uint64_t page) override;

 private:
  void protect(uint64_t page, bool on);

  UserFaults& faults_;
  MappedFile& file_;
  std::byte* const mapping_;
};

// Where this process has mapped the file from its start on, whole. Throws std::runtime_error if it
// has not.
std::byte* find_mapping(const MappedFile& file);

}  // namespace noncoherent
