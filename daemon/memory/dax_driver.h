// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <utility>

namespace famfs::memory {

// Gives a dax device to `driver` ("device_dax" or "fsdev_dax"), whatever has it now, and takes the
// device's name off the former driver's list, so that it comes back nowhere else. Who has memory of
// the device mapped is killed by the kernel: the caller knows that nobody does. Throws base::Error.
void bind_dax_driver(const std::string& path, const std::string& driver);

// Gives the device to a driver for as long as this object lives; it gets its former one back then.
class DaxDriverLoan {
 public:
  // `trouble` is told what goes wrong when the device is given back. Nothing to do if `driver` has
  // the device. Refuses with EBUSY where the device is memory of the system (kmem).
  DaxDriverLoan(std::string path, const std::string& driver,
                std::function<void(const std::string&)> trouble);
  // Takes over a loan that another program has made.
  DaxDriverLoan(std::string path, std::string former,
                std::function<void(const std::string&)> trouble, std::adopt_lock_t /*made*/)
      : path_(std::move(path)), former_(std::move(former)), trouble_(std::move(trouble)) {}
  DaxDriverLoan(const DaxDriverLoan&) = delete;
  DaxDriverLoan& operator=(const DaxDriverLoan&) = delete;
  ~DaxDriverLoan();

  // True if the device had another driver before.
  bool changed() const noexcept { return !former_.empty(); }
  const std::string& path() const noexcept { return path_; }
  // The driver that gets the device back; empty if it was this one.
  const std::string& former() const noexcept { return former_; }

 private:
  std::string path_;
  std::string former_;
  std::function<void(const std::string&)> trouble_;
};

}  // namespace famfs::memory
