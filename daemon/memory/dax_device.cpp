// SPDX-License-Identifier: Apache-2.0
#include "memory/dax_device.h"

#include <daxctl/libdaxctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "base/size_units.h"

namespace famfs::memory {
namespace {

namespace fs = std::filesystem;

struct ContextDeleter {
  void operator()(daxctl_ctx* context) const noexcept { daxctl_unref(context); }
};
using Context = std::unique_ptr<daxctl_ctx, ContextDeleter>;

Context new_context() {
  daxctl_ctx* context = nullptr;
  const int result = daxctl_new(&context);
  if (result < 0) throw base::Error(-result, "libdaxctl cannot look at the dax devices");
  return Context(context);
}

// Calls `visit` for each device that libdaxctl knows.
template <typename Visit>
void for_each_device(Visit visit) {
  const Context context = new_context();
  daxctl_region* region = nullptr;
  daxctl_dev* device = nullptr;
  daxctl_region_foreach(context.get(), region) {
    daxctl_dev_foreach(region, device) { visit(device); }
  }
}

// Last component of what a sysfs link points to, "" if there is no link.
std::string link_name(const fs::path& link) {
  std::error_code error;
  const fs::path target = fs::read_symlink(link, error);
  return error ? "" : target.filename().string();
}

void add_libdaxctl_facts(daxctl_dev* device, DaxDevice& out) {
  out.align = daxctl_dev_get_align(device);
  const unsigned long long resource = daxctl_dev_get_resource(device);
  out.resource = resource == ~0ULL ? 0 : resource;
}

}  // namespace

std::vector<DaxDevice> list_dax_devices() {
  std::vector<DaxDevice> devices;
  for_each_device([&](daxctl_dev* device) {
    DaxDevice out;
    out.name = daxctl_dev_get_devname(device);
    out.path = "/dev/" + out.name;
    out.size = daxctl_dev_get_size(device);
    out.driver = link_name(fs::path("/sys/bus/dax/devices") / out.name / "driver");
    add_libdaxctl_facts(device, out);
    devices.push_back(std::move(out));
  });
  return devices;
}

DaxDevice describe_dax_device(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) throw base::system_error("cannot look at " + path);
  if (!S_ISCHR(status.st_mode)) {
    throw base::Error(ENODEV, "{} is not a character device; allowed: a dax device", path);
  }
  const unsigned device_major = major(status.st_rdev);
  const unsigned device_minor = minor(status.st_rdev);
  const fs::path sysfs = fmt::format("/sys/dev/char/{}:{}", device_major, device_minor);
  if (link_name(sysfs / "subsystem") != "dax") {
    throw base::Error(ENODEV, "{} (character device {}:{}) is not a dax device", path, device_major,
                      device_minor);
  }
  DaxDevice out;
  out.name = link_name(sysfs);
  out.path = path;
  std::string size = base::read_small_file(sysfs / "size");
  while (!size.empty() && size.back() == '\n') size.pop_back();
  out.size = base::parse_size(size);
  out.driver = link_name(sysfs / "driver");
  for_each_device([&](daxctl_dev* device) {
    if (out.name == daxctl_dev_get_devname(device)) add_libdaxctl_facts(device, out);
  });
  return out;
}

}  // namespace famfs::memory
