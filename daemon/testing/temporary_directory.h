// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/error.h"
#include "base/file_descriptor.h"

namespace famfs::testing {

// A directory of its own for one test, removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = std::filesystem::temp_directory_path() / "famfs_test.XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw base::system_error("mkdtemp");
    path_ = name;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::string path() const { return path_; }
  std::string operator/(const char* name) const { return path_ / name; }

  // A file of `size` bytes that is one hole; returns its path.
  std::string sparse_file(const char* name, uint64_t size) const {
    std::string path = path_ / name;
    const auto file = base::open_file(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (::ftruncate(file.get(), static_cast<off_t>(size)) != 0) {
      throw base::system_error("ftruncate");
    }
    return path;
  }

 private:
  std::filesystem::path path_;
};

// errno value of the base::Error that `action` throws; 0 if it throws none.
template <typename Action>
int error_code_of(Action action) {
  try {
    action();
  } catch (const base::Error& error) {
    return error.message().empty() ? -1 : error.code();
  }
  return 0;
}

}  // namespace famfs::testing
