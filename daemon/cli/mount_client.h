// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "fuse/ioctl.h"
#include "memory/shared_memory.h"

namespace famfs::cli {

// How `famfs creat` and `famfs cp` lay out new files: interleaved over strips, or contiguous when
// `strips` is 0.
struct Interleave {
  std::uint64_t chunk_size = 2U << 20;  // bytes
  std::uint32_t strips = 0;
  std::uint32_t buckets = 0;
};

// Attributes of new files and directories.
struct Ownership {
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

// A directory of a mounted famfs and the requests that its daemon takes (fuse/ioctl.h). Every
// function throws base::Error with the daemon's own message.
class MountedDirectory {
 public:
  // Throws base::Error with ENOTTY when `path` is not a directory of a famfs mount.
  explicit MountedDirectory(std::string path);

  // Makes files from the first on, up to the first that cannot be made, which `refused` is about
  // then. At most fuse::ioctl::kBatch. Returns how many were made.
  struct File {
    std::string name;
    std::uint64_t size = 0;
    Ownership ownership{};
  };
  std::size_t create_files(std::span<const File> files, const Interleave& interleave,
                           std::optional<base::Error>& refused);
  void make_directory(const std::string& name, const Ownership& ownership);
  fuse::ioctl::Refresh refresh();
  // What the daemon has mapped of a device (superblock and log of the first); null where the device
  // itself can be opened.
  std::unique_ptr<memory::SharedMemory> window(std::uint32_t device);
  // Makes a device of this host a further one; its index.
  std::uint32_t add_device(const std::string& device, bool force);
  // The further devices as the daemon has them: paths, those that are missing left out.
  std::vector<std::pair<std::uint32_t, std::string>> devices();

  const std::string& path() const { return path_; }

 private:
  std::string path_;
  base::FileDescriptor fd_;
};

// The map of the file `path` of a famfs mount. Throws base::Error: ENOTTY when it is not one,
// EISDIR for a directory.
fuse::ioctl::GetMap get_map(const std::string& path);

// "a/b/c" -> {"a/b", "c"}, "c" -> {".", "c"}; trailing slashes are ignored. Throws base::Error
// with EINVAL when there is no name ("/", "..").
std::pair<std::string, std::string> split_path(const std::string& path);

}  // namespace famfs::cli
