// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/file_descriptor.h"
#include "media/log_entry.h"

namespace famfs::cli {

// A file's entry as YAML text, in the form that the reference famfs keeps in its shadow tree.
std::string to_yaml(const media::FileEntry& entry);

// The reverse. Throws base::Error(EINVAL) that names the field for text that is not of this form or
// longer than 16 KiB.
media::FileEntry from_yaml(std::string_view text);

// A directory tree that mirrors a log: a directory for each MKDIR, a YAML file for each FILE.
//
// Nothing is made outside of the given directory: paths of the log are resolved below it by the
// kernel (openat2(2) with RESOLVE_BENEATH), symbolic links are not followed.
class ShadowTree {
 public:
  // `path` must be a directory that can be written; the tree goes to its subdirectory "root" when
  // there is one, else to itself. Throws base::Error.
  explicit ShadowTree(const std::string& path);

  // Makes what is missing. What exists is left alone, or with `compare` must say the same:
  // base::Error with EEXIST that names the path otherwise.
  void play(const media::LogEntry& entry, bool compare);

  std::uint64_t made() const { return made_; }

 private:
  void play_directory(const media::DirectoryEntry& entry);
  void play_file(const media::FileEntry& entry, bool compare);
  base::FileDescriptor open_parent(const std::string& path) const;

  base::FileDescriptor root_;
  std::uint64_t made_ = 0;
};

}  // namespace famfs::cli
