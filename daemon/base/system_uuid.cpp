// SPDX-License-Identifier: Apache-2.0
#include "base/system_uuid.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "base/file_descriptor.h"

namespace famfs::base {
namespace {

Uuid parse_content(const std::string& path, std::string_view content) {
  std::string_view text = content;
  while (!text.empty() && (text.back() == '\0' || text.back() == '\n')) text.remove_suffix(1);
  const auto uuid = Uuid::parse(text);
  if (!uuid) {
    throw Error(EINVAL,
                "{} holds {} bytes that are not a uuid; allowed: 36 characters as uuidgen prints",
                path, content.size());
  }
  return *uuid;
}

// Writes the file under a name of its own and gives it the final name with link(2), which does not
// replace: of several processes one wins, and nobody sees half a file.
void create(const std::string& path) {
  std::string temporary = path + ".XXXXXX";
  FileDescriptor file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!file) throw system_error("cannot create a file beside " + path);
  const std::string text = Uuid::random().to_string();
  const size_t length = text.size() + 1;  // with the NUL
  const bool written = ::write(file.get(), text.c_str(), length) == static_cast<ssize_t>(length) &&
                       ::fchmod(file.get(), 0444) == 0 && ::fsync(file.get()) == 0;
  if (!written || ::link(temporary.c_str(), path.c_str()) != 0) {
    Error error = system_error("cannot create " + path);
    ::unlink(temporary.c_str());
    if (written && error.code() == EEXIST) return;
    throw error;
  }
  ::unlink(temporary.c_str());
}

// The file is for every user to read, so is what is above it, whatever the umask.
void make_directories(const std::filesystem::path& directory) {
  std::error_code ignored;
  if (directory.empty() || std::filesystem::is_directory(directory, ignored)) return;
  make_directories(directory.parent_path());
  if (::mkdir(directory.c_str(), 0755) == 0 && ::chmod(directory.c_str(), 0755) == 0) return;
  if (errno != EEXIST) throw system_error("cannot create the directory " + directory.string());
}

}  // namespace

std::string system_uuid_path() {
  const char* path = std::getenv("FAMFS_SYSTEM_UUID_FILE");
  return path != nullptr && *path != '\0' ? path : "/opt/famfs/system_uuid";
}

std::optional<Uuid> load_system_uuid(const std::string& path) {
  if (::access(path.c_str(), F_OK) != 0) {
    if (errno != ENOENT) throw system_error("cannot look at " + path);
    return std::nullopt;
  }
  return parse_content(path, read_small_file(path));
}

Uuid load_or_create_system_uuid(const std::string& path) {
  if (const auto uuid = load_system_uuid(path)) return *uuid;
  make_directories(std::filesystem::path(path).parent_path());
  create(path);
  return parse_content(path, read_small_file(path));
}

}  // namespace famfs::base
