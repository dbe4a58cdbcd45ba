// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace famfs::memory {

inline constexpr uint64_t kCacheLine = 64;

// A file of this process that is a part of a device.
struct SharedPart {
  uint64_t offset = 0;  // on the device
  uint64_t length = 0;
  int fd = -1;
};

// What one SharedMemory has done since it was opened. Of what threads did at the same moment some
// may not be counted.
struct Counters {
  uint64_t lines_written_back = 0;
  uint64_t lines_invalidated = 0;
  uint64_t fences = 0;
};

// One device of shared memory that other hosts read and write and that is NOT assumed coherent:
// what another host stored is seen only after acquire(), what is stored here is seen by others only
// after publish() (or write_back() and fence()). No other code of the daemon writes back,
// invalidates or fences.
//
// Offsets and lengths are bytes from the start of the device. Every function checks its range and
// throws base::Error(ERANGE) for one that is not wholly inside; functions that change memory throw
// base::Error(EROFS) on a read-only opening. Cache maintenance covers exactly the 64-byte lines
// that the range touches.
//
// Thread safety: all functions may be called at once from several threads; the bytes are ordinary
// memory, so who stores and who loads the same range must agree by other means (volume/ does for
// metadata; for file data that is the application's matter, as on any shared memory).
class SharedMemory {
 public:
  virtual ~SharedMemory() = default;
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  uint64_t size() const noexcept { return size_; }
  bool writable() const noexcept { return writable_; }
  // Makes the bytes [0, length) usable, where only the start of the device is until asked for more
  // (backend "window"). Throws ERANGE as all others, and what the kernel says against it. Not
  // thread-safe: for use before other threads have this object.
  virtual void reach(uint64_t length) { check_on_device(0, length, "reach"); }
  // Whether all of the device can be used, so that file data can be moved through this object.
  virtual bool reaches_files() const noexcept { return true; }

  // The parts that it consists of where nobody else can map the device, without gaps from 0 on;
  // otherwise empty.
  virtual std::vector<SharedPart> share() const { return {}; }

  // The path it was opened by.
  const std::string& name() const noexcept { return name_; }
  // "device", "window", "file" or "noncoherent".
  virtual const char* backend() const noexcept = 0;

  // Invalidates the lines of the range, then fences so that loads through the returned view happen
  // after: the view shows the range as it is in memory now. Valid while this object lives.
  std::span<const std::byte> acquire(uint64_t offset, uint64_t length);

  // The range as this host's cache holds it, nothing invalidated: for bytes that this host itself
  // stored or has just acquired.
  std::span<const std::byte> view(uint64_t offset, uint64_t length) const;

  // Stores are virtual for the tests' simulated hosts, which record each of them.

  // Copies `bytes` to `offset`. Others see nothing until publish(). A line that is covered only in
  // part keeps its other bytes as this host's cache has them: use begin_write() where another host
  // may have stored into them.
  virtual void store(uint64_t offset, std::span<const std::byte> bytes);

  // Stores one 8-byte word (offset a multiple of 8) as one store instruction that no earlier store
  // of this thread passes. Within one line, other hosts thus never see it without those.
  virtual void store_word(uint64_t offset, uint64_t value);

  // Stores zeros.
  virtual void store_zeros(uint64_t offset, uint64_t length);

  // Room for the caller to store file data without a copy, to be followed by publish() of the same
  // range. Acquires the first and last line if they are covered only in part, so that publishing
  // does not put back old bytes of a neighbour.
  std::span<std::byte> begin_write(uint64_t offset, uint64_t length);

  // Starts writing the lines of the range back to memory. Not complete, and not ordered before any
  // later store, until fence().
  void write_back(uint64_t offset, uint64_t length);

  // Stores and write-backs before it are complete in memory before any store after it.
  void fence();

  // write_back() and fence(): when it returns, other hosts that acquire the range see it.
  void publish(uint64_t offset, uint64_t length);

  Counters counters() const noexcept;

 protected:
  // Sets name, size and access; the derived class then calls set_base() with at least `size` bytes.
  SharedMemory(std::string name, uint64_t size, bool writable);
  void set_base(std::byte* base) noexcept { base_ = base; }
  std::byte* base() const noexcept { return base_; }
  // For a backend whose base() has fewer usable bytes than the device: how many.
  void set_reachable(uint64_t length) noexcept { reachable_ = length; }
  uint64_t reachable() const noexcept { return reachable_; }
  // Throws ERANGE if the range is not wholly inside the device.
  void check_on_device(uint64_t offset, uint64_t length, const char* what) const;

 private:
  // Offset and length are multiples of the line, inside the device rounded up to a line.
  virtual void write_back_lines(uint64_t offset, uint64_t length) = 0;
  virtual void invalidate_lines(uint64_t offset, uint64_t length) = 0;
  // Orders earlier stores and write-backs before later stores.
  virtual void store_fence() = 0;
  // Orders earlier invalidations before later loads.
  virtual void load_fence() = 0;

  void check_range(uint64_t offset, uint64_t length, const char* what) const;
  void check_writable(const char* what) const;
  void invalidate(uint64_t offset, uint64_t length);

  std::string name_;
  uint64_t size_;
  uint64_t reachable_;
  bool writable_;
  std::byte* base_ = nullptr;
  std::atomic<uint64_t> lines_written_back_{0};
  std::atomic<uint64_t> lines_invalidated_{0};
  std::atomic<uint64_t> fences_{0};
};

}  // namespace famfs::memory
