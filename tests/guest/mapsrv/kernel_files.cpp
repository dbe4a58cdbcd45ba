// SPDX-License-Identifier: Apache-2.0
#include "mapsrv/kernel_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <sstream>

namespace mapsrv {
namespace {

const char* const kDriver = "/sys/bus/dax/drivers/fsdev_dax/";

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

long counter(const std::string& name) {
  std::ifstream file("/sys/kernel/debug/fuse_dax/stats");
  std::string key;
  long value = 0;
  while (file >> key >> value) {
    if (key == name) return value;
  }
  return -1;
}

int write_file(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  const bool good = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = good ? 0 : errno;
  close(fd);
  return error;
}

bool file_contains(const std::string& path, const std::string& text) {
  std::ifstream file(path);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str().find(text) != std::string::npos;
}

unsigned long long physical_address(const void* address) {
  constexpr std::uint64_t kPage = 4096;
  const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  std::uint64_t entry = 0;
  const auto offset = reinterpret_cast<std::uintptr_t>(address) / kPage * sizeof(entry);
  if (pread(fd, &entry, sizeof(entry), static_cast<off_t>(offset)) != sizeof(entry)) entry = 0;
  close(fd);
  return (entry & ((1ULL << 55) - 1)) * kPage;
}

int hard_offline(unsigned long long physical) {
  return write_file("/sys/devices/system/memory/hard_offline_page", std::to_string(physical));
}

int unbind_device(const std::string& path) {
  return write_file(std::string(kDriver) + "unbind", name_of(path));
}

int bind_device(const std::string& path) {
  return write_file(std::string(kDriver) + "bind", name_of(path));
}

}  // namespace mapsrv
