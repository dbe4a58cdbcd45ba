// SPDX-License-Identifier: Apache-2.0
#include "cli/device_scan.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "cli/device.h"
#include "cli/mounts.h"
#include "memory/dax_device.h"

namespace famfs::cli {
namespace {

constexpr std::size_t kMostEntries = 1024;  // of a directory

bool is_device_or_file(const std::string& path) {
  struct stat attributes = {};
  return stat(path.c_str(), &attributes) == 0 &&
         (S_ISCHR(attributes.st_mode) || S_ISREG(attributes.st_mode));
}

bool is_character_device(const std::string& path) {
  struct stat attributes = {};
  return stat(path.c_str(), &attributes) == 0 && S_ISCHR(attributes.st_mode);
}

// What is in a directory, in order of name; the path itself for anything else.
std::vector<std::string> expand(const std::string& path) {
  std::error_code error;
  std::filesystem::directory_iterator it(path, error);
  if (error) return {path};
  std::vector<std::string> paths;
  for (const std::filesystem::directory_iterator end; !error && it != end; it.increment(error)) {
    if (paths.size() == kMostEntries) break;
    if (is_device_or_file(it->path().string())) paths.push_back(it->path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<std::string> dax_devices() {
  std::vector<std::string> paths;
  try {
    for (const memory::DaxDevice& device : memory::list_dax_devices()) {
      if (device.driver == memory::kDeviceDriver || device.driver == memory::kFileSystemDriver) {
        paths.push_back(device.path);
      }
    }
  } catch (const base::Error& error) {
    spdlog::warn("{}", error.what());
  }
  return paths;
}

using Claim = std::function<std::shared_ptr<void>(const std::string&)>;

std::shared_ptr<void> claim(const std::string& path) {
  return std::make_shared<base::FileDescriptor>(lock_against_master(path));
}

}  // namespace

std::vector<std::string> device_candidates(const std::string& first,
                                           const std::vector<std::string>& given) {
  std::vector<std::string> found;
  const auto add = [&](const std::string& path) {
    const std::string name = canonical(path);
    if (name == first || std::find(found.begin(), found.end(), name) != found.end()) return;
    found.push_back(name);
  };
  for (const std::string& path : given) {
    for (const std::string& each : expand(path)) add(each);
  }
  if (is_character_device(first)) {
    for (const std::string& path : dax_devices()) add(path);
  }
  return found;
}

volume::DeviceSource device_source(std::string first, std::vector<std::string> given,
                                   memory::Access access, memory::Backend backend) {
  for (std::string& path : given) path = canonical(path);
  return {
      .candidates = [first = std::move(first),
                     given = std::move(given)] { return device_candidates(first, given); },
      .open = [access, backend](
                  const std::string& path) { return memory::open_memory(path, access, backend); },
      .claim = access == memory::Access::kReadOnly ? nullptr : Claim(claim)};
}

}  // namespace famfs::cli
