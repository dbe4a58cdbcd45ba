// SPDX-License-Identifier: Apache-2.0
#include "memory/dax_driver.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "memory/dax_device.h"

namespace famfs::memory {
namespace {

constexpr const char* kDrivers = "/sys/bus/dax/drivers/";

void write_attribute(const std::string& driver, const char* attribute, const std::string& value) {
  const std::string path = kDrivers + driver + "/" + attribute;
  const base::FileDescriptor file = base::open_file(path, O_WRONLY);
  if (write(file.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
    throw base::system_error(fmt::format("cannot write {} to {}", value, path));
  }
}

}  // namespace

void bind_dax_driver(const std::string& path, const std::string& driver) {
  const DaxDevice device = describe_dax_device(path);
  if (device.driver == driver) return;
  if (access((kDrivers + driver).c_str(), F_OK) != 0) {
    throw base::Error(ENODEV, "this kernel has no driver {} for {}", driver, path);
  }
  if (!device.driver.empty()) {
    write_attribute(device.driver, "unbind", device.name);
    write_attribute(device.driver, "remove_id", device.name);
  }
  try {
    write_attribute(driver, "bind", device.name);
  } catch (const base::Error& error) {
    if (error.code() != ENODEV) throw;
    // A driver that takes only what it was told of. Not at first: it then takes all that have none.
    write_attribute(driver, "new_id", device.name);
  }
  if (const std::string now = describe_dax_device(path).driver; now != driver) {
    throw base::Error(EIO, "{} was not accepted by {}; it is bound to {} (dmesg may say why)", path,
                      driver, now.empty() ? "no driver" : now);
  }
}

DaxDriverLoan::DaxDriverLoan(std::string path, const std::string& driver,
                             std::function<void(const std::string&)> trouble)
    : path_(std::move(path)), trouble_(std::move(trouble)) {
  const std::string found = describe_dax_device(path_).driver;
  if (found == driver) return;
  if (!found.empty() && found != kDeviceDriver && found != kFileSystemDriver) {
    throw base::Error(EBUSY, "{} is bound to {}; it is given to {} only from {}, {} or no driver",
                      path_, found, driver, kDeviceDriver, kFileSystemDriver);
  }
  try {
    bind_dax_driver(path_, driver);
  } catch (const base::Error&) {
    if (!found.empty()) bind_dax_driver(path_, found);
    throw;
  }
  former_ = found;
}

DaxDriverLoan::~DaxDriverLoan() {
  if (former_.empty()) return;
  try {
    bind_dax_driver(path_, former_);
  } catch (const base::Error& error) {
    trouble_(fmt::format("{} could not be given back to {}: {}", path_, former_, error.what()));
  }
}

}  // namespace famfs::memory
