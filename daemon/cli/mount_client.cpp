// SPDX-License-Identifier: Apache-2.0
#include "cli/mount_client.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "media/layout.h"
#include "memory/window_memory.h"

namespace famfs::cli {
namespace {

template <typename Request>
void exchange(int fd, unsigned long number, const std::string& path, Request& request) {
  request.status.version = fuse::ioctl::kVersion;
  if (::ioctl(fd, number, &request) != 0) {
    const int error = errno;
    if (error == ENOTTY || error == ENOSYS || error == EINVAL || error == EOPNOTSUPP) {
      throw base::Error(ENOTTY, fmt::format("{} is not in a famfs mount, or in one of another "
                                            "version; mount it with `famfs mount DEV DIR`",
                                            path));
    }
    throw base::Error(
        error, fmt::format("{}: the famfs daemon did not answer: {}", path, std::strerror(error)));
  }
  if (request.status.error != 0) {
    request.status.message[sizeof(request.status.message) - 1] = '\0';
    throw base::Error(request.status.error, request.status.message);
  }
}

// Names come from command lines; the fixed field must hold them with their NUL.
template <std::size_t Size>
void set_name(char (&field)[Size], const std::string& name) {
  if (name.size() >= Size) {
    throw base::Error(ENAMETOOLONG,
                      fmt::format("\"{}\" has {} bytes; a path in famfs has at most {} in all",
                                  name, name.size(), Size - 1));
  }
  name.copy(field, Size - 1);
}

}  // namespace

MountedDirectory::MountedDirectory(std::string path)
    : path_(std::move(path)), fd_(base::open_file(path_, O_RDONLY | O_DIRECTORY)) {}

std::size_t MountedDirectory::create_files(std::span<const File> files,
                                           const Interleave& interleave,
                                           std::optional<base::Error>& refused) {
  // Too large for the stack of who calls from threads.
  const auto request = std::make_unique<fuse::ioctl::CreateFiles>();
  try {
    for (const File& file : files) {
      fuse::ioctl::NewFile& entry = request->file[request->count];
      set_name(entry.name, file.name);
      entry.size = file.size;
      if (interleave.strips != 0) {
        entry.chunk_size = interleave.chunk_size;
        entry.strips = interleave.strips;
        entry.buckets = interleave.buckets;
      }
      entry.mode = file.ownership.mode;
      entry.uid = file.ownership.uid;
      entry.gid = file.ownership.gid;
      ++request->count;
    }
  } catch (const base::Error& error) {
    refused = error;  // those before it are made all the same
  }
  if (request->count == 0) return 0;
  try {
    exchange(fd_.get(), fuse::ioctl::kCreateFiles, path_, *request);
  } catch (const base::Error& error) {
    refused = error;
  }
  const std::size_t created = std::min(request->created, request->count);
  if (created < request->count && !refused) {
    refused = base::Error(EIO, "{}: the daemon made {} of {} files and does not say why", path_,
                          created, request->count);
  }
  return created;
}

void MountedDirectory::make_directory(const std::string& name, const Ownership& ownership) {
  fuse::ioctl::MakeDirectory request{};
  request.mode = ownership.mode;
  request.uid = ownership.uid;
  request.gid = ownership.gid;
  set_name(request.name, name);
  exchange(fd_.get(), fuse::ioctl::kMakeDirectory, path_, request);
}

fuse::ioctl::Refresh MountedDirectory::refresh() {
  fuse::ioctl::Refresh request{};
  exchange(fd_.get(), fuse::ioctl::kRefresh, path_, request);
  return request;
}

std::uint32_t MountedDirectory::add_device(const std::string& device, bool force) {
  fuse::ioctl::AddDevice request{};
  request.force = force ? 1 : 0;
  if (device.size() >= sizeof(request.path)) {
    throw base::Error(ENAMETOOLONG, "{} has {} bytes; at most {} are allowed", device,
                      device.size(), sizeof(request.path) - 1);
  }
  device.copy(request.path, sizeof(request.path) - 1);
  exchange(fd_.get(), fuse::ioctl::kAddDevice, path_, request);
  return request.index;
}

std::vector<std::pair<std::uint32_t, std::string>> MountedDirectory::devices() {
  std::vector<std::pair<std::uint32_t, std::string>> found;
  for (std::uint32_t index = 1; index < media::kMaxDevices; ++index) {
    fuse::ioctl::GetDevice request{};
    request.index = index;
    try {
      exchange(fd_.get(), fuse::ioctl::kGetDevice, path_, request);
    } catch (const base::Error& error) {
      if (error.code() != ENOENT) throw;
      break;
    }
    request.path[sizeof(request.path) - 1] = '\0';
    if (request.missing == 0) found.emplace_back(index, request.path);
  }
  return found;
}

std::unique_ptr<memory::SharedMemory> MountedDirectory::window(std::uint32_t device) {
  fuse::ioctl::GetWindow request{};
  request.device = device;
  exchange(fd_.get(), fuse::ioctl::kGetWindow, path_, request);
  if (request.parts == 0) return nullptr;
  std::vector<memory::SharedPart> parts;
  for (std::uint32_t i = 0; i < request.parts && i < fuse::ioctl::kWindowParts; ++i) {
    const fuse::ioctl::WindowPart& part = request.part[i];
    parts.push_back({part.offset, part.length, part.fd});
  }
  return std::make_unique<memory::WindowMemory>(path_, request.device_size,
                                                static_cast<int>(request.pid), parts);
}

fuse::ioctl::GetMap get_map(const std::string& path) {
  const base::FileDescriptor fd = base::open_file(path, O_RDONLY);
  struct stat attributes = {};
  if (fstat(fd.get(), &attributes) == 0 && S_ISDIR(attributes.st_mode)) {
    throw base::Error(EISDIR, fmt::format("{} is a directory; only files have a map", path));
  }
  fuse::ioctl::GetMap request{};
  exchange(fd.get(), fuse::ioctl::kGetMap, path, request);
  return request;
}

std::pair<std::string, std::string> split_path(const std::string& path) {
  const std::size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) {
    throw base::Error(EINVAL, fmt::format("\"{}\" does not name a file or directory", path));
  }
  const std::string trimmed = path.substr(0, end + 1);
  const std::size_t slash = trimmed.rfind('/');
  std::string name = slash == std::string::npos ? trimmed : trimmed.substr(slash + 1);
  if (name == "." || name == "..") {
    throw base::Error(EINVAL, fmt::format("\"{}\" must end in a name, not in \"{}\"", path, name));
  }
  if (slash == std::string::npos) return {".", name};
  return {slash == 0 ? "/" : trimmed.substr(0, slash), name};
}

}  // namespace famfs::cli
