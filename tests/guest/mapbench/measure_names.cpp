// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "mapbench/measure.h"
#include "mapbench/meter.h"

namespace mapbench {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

struct Close {
  void operator()(DIR* directory) const { closedir(directory); }
};

class Directory {
 public:
  explicit Directory(const std::string& path) : path_(path), stream_(opendir(path.c_str())) {
    if (!stream_) fail(path);
  }
  int get() const { return dirfd(stream_.get()); }

  // Calls `take` for each name in it, "." and ".." not among them.
  template <typename Take>
  void each(Take take) const {
    rewinddir(stream_.get());
    errno = 0;
    while (const dirent* entry = readdir(stream_.get())) {
      const std::string_view name(entry->d_name);
      if (name != "." && name != "..") take(name);
    }
    if (errno != 0) fail(path_);
  }

 private:
  std::string path_;
  std::unique_ptr<DIR, Close> stream_;
};

}  // namespace

Result create_files(const Options& options) {
  const Directory directory(options.path);
  Meter meter(options.count);
  for (std::uint64_t number = 0; number < options.count; ++number) {
    const std::string name = std::to_string(number);
    const int fd = openat(directory.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0) fail(options.path + "/" + name);
    close(fd);
    meter.lap();
  }
  return meter.stop(options.count, 0);
}

// Attributes are asked for anew each time, and names if the file system lets none be kept.
Result stat_files(const Options& options) {
  const Directory directory(options.path);
  std::vector<std::string> names;
  directory.each([&](std::string_view name) { names.emplace_back(name); });
  if (names.empty()) throw std::system_error(ENOENT, std::generic_category(), options.path);
  Meter meter(options.count);
  for (std::uint64_t number = 0; number < options.count; ++number) {
    const std::string& name = names[number % names.size()];
    struct statx status{};
    if (statx(directory.get(), name.c_str(), AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &status) != 0)
      fail(options.path + "/" + name);
    meter.lap();
  }
  return meter.stop(options.count, 0);
}

Result list_directory(const Options& options) {
  std::uint64_t names = 0;
  Meter meter(options.count);
  for (std::uint64_t number = 0; number < options.count; ++number) {
    Directory(options.path).each([&](std::string_view) { ++names; });
    meter.lap();
  }
  return meter.stop(names, 0);
}

}  // namespace mapbench
