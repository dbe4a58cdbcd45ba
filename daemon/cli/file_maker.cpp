// SPDX-License-Identifier: Apache-2.0
#include "cli/file_maker.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <utility>

#include "base/error.h"
#include "cli/command.h"

namespace famfs::cli {
namespace {

// Why a file that exists cannot stand for the one wanted, empty if it can.
std::optional<base::Error> other_than_wanted(const WantedFile& file) {
  struct stat existing = {};
  if (stat(file.path.c_str(), &existing) != 0) {
    return base::system_error("cannot look at " + file.path);
  }
  if (!S_ISREG(existing.st_mode)) {
    return base::Error(EEXIST, "{} exists and is not a file", file.path);
  }
  if (static_cast<std::uint64_t>(existing.st_size) != file.size) {
    return base::Error(
        EEXIST,
        "{} exists with {} bytes, {} are wanted; a famfs file keeps its size, choose "
        "another name",
        file.path, existing.st_size, file.size);
  }
  return std::nullopt;
}

// Files of one directory, from the first on.
class Batch {
 public:
  explicit Batch(std::span<const WantedFile> files) {
    directory_ = split_path(files.front().path).first;
    for (const WantedFile& file : files.first(std::min(files.size(), fuse::ioctl::kBatch))) {
      if (!add(file)) break;
    }
  }

  std::size_t create(const Interleave& interleave, std::optional<base::Error>& refused) const {
    return MountedDirectory(directory_).create_files(files_, interleave, refused);
  }

 private:
  // False for a file elsewhere, and for a path that must fail alone.
  bool add(const WantedFile& file) try {
    auto [parent, name] = split_path(file.path);
    if (parent != directory_) return false;
    files_.push_back({std::move(name), file.size, file.ownership});
    return true;
  } catch (const base::Error&) {
    return false;
  }

  std::string directory_;
  std::vector<MountedDirectory::File> files_;
};

}  // namespace

std::vector<Made> make_files(const char* program, std::span<const WantedFile> files,
                             const Interleave& interleave, int& code) {
  std::vector<Made> made;
  made.reserve(files.size());
  while (made.size() < files.size()) {
    std::optional<base::Error> refused;
    try {
      const Batch batch(files.subspan(made.size()));
      made.insert(made.end(), batch.create(interleave, refused), Made::kNew);
    } catch (const base::Error& error) {
      refused = error;
    }
    if (!refused) continue;
    if (refused->code() == EEXIST) {
      refused = other_than_wanted(files[made.size()]);
    }
    made.push_back(refused ? Made::kFailed : Made::kExisted);
    if (!refused) continue;
    fmt::print(stderr, "{}: {}\n", program, refused->what());
    if (code == kExitOk) code = exit_code(refused->code());
  }
  return made;
}

}  // namespace famfs::cli
