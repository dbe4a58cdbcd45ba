// SPDX-License-Identifier: Apache-2.0
#include "cli/shadow_tree.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <limits>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "base/error.h"
#include "cli/file_io.h"
#include "cli/numbers.h"
#include "media/layout.h"
#include "media/path.h"

namespace famfs::cli {
namespace {

constexpr std::size_t kLargestText = 16U << 10;
constexpr unsigned kDirectoryMode = 0755;
constexpr unsigned kFileMode = 0644;

int open_beneath(int directory, const std::string& path, std::uint64_t flags, std::uint64_t mode) {
  open_how how{};
  how.flags = flags | O_CLOEXEC | O_NOFOLLOW;
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(syscall(SYS_openat2, directory, path.c_str(), &how, sizeof(how)));
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

void emit_extents(YAML::Emitter& out, std::span<const media::Extent> extents) {
  out << YAML::Key << "simple_ext_list" << YAML::Value << YAML::BeginSeq;
  for (const media::Extent& extent : extents) {
    out << YAML::BeginMap << YAML::Key << "devindex" << YAML::Value << extent.device_index
        << YAML::Key << "offset" << YAML::Value << fmt::format("{:#x}", extent.offset) << YAML::Key
        << "length" << YAML::Value << fmt::format("{:#x}", extent.length) << YAML::EndMap;
  }
  out << YAML::EndSeq;
}

std::uint64_t number(const YAML::Node& parent, const char* field, std::uint64_t maximum) {
  const YAML::Node node = parent[field];
  const auto value = node && node.IsScalar() ? parse_number(node.Scalar(), maximum) : std::nullopt;
  if (!value) {
    throw base::Error(EINVAL, "shadow file: {} is \"{}\"; allowed: a number from 0 to {}", field,
                      node && node.IsScalar() ? media::printable(node.Scalar()) : "missing",
                      maximum);
  }
  return *value;
}

YAML::Node sequence(const YAML::Node& parent, const char* field, std::size_t most) {
  const YAML::Node node = parent[field];
  if (!node || !node.IsSequence() || node.size() == 0 || node.size() > most) {
    throw base::Error(EINVAL, "shadow file: {} must be a list of 1 to {} extents", field, most);
  }
  return node;
}

std::vector<media::Extent> extents_of(const YAML::Node& parent, std::size_t most) {
  constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();
  std::vector<media::Extent> extents;
  for (const YAML::Node& node : sequence(parent, "simple_ext_list", most)) {
    extents.push_back({number(node, "devindex", kAny), number(node, "offset", kAny),
                       number(node, "length", kAny)});
  }
  return extents;
}

media::FileEntry parse(const YAML::Node& document) {
  constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();
  constexpr std::uint64_t kAny32 = std::numeric_limits<std::uint32_t>::max();
  const YAML::Node file = document["file"];
  const YAML::Node path = file["path"];
  const YAML::Node mode = file["mode"];
  media::FileEntry entry;
  entry.path = path.Scalar();
  if (const auto problem = media::path_problem(entry.path)) {
    throw base::Error(EINVAL, "shadow file: path \"{}\": {}", media::printable(entry.path),
                      *problem);
  }
  entry.size = number(file, "size", kAny);
  entry.flags = static_cast<std::uint32_t>(number(file, "flags", kAny32));
  const auto permissions = parse_mode(mode.Scalar());
  if (!permissions) {
    throw base::Error(EINVAL, "shadow file: mode is \"{}\"; allowed: octal, 0 to 07777",
                      media::printable(mode.Scalar()));
  }
  entry.mode = *permissions;
  entry.uid = static_cast<std::uint32_t>(number(file, "uid", kAny32));
  entry.gid = static_cast<std::uint32_t>(number(file, "gid", kAny32));
  if (file["striped_ext_list"]) {
    // One interleaved extent is all that the medium holds.
    const YAML::Node striped = sequence(file, "striped_ext_list", 1)[0];
    entry.map.chunk_size = number(striped, "chunk_size", kAny);
    entry.map.extents = extents_of(striped, media::kMaxStrips);
  } else {
    entry.map.extents = extents_of(file, media::kMaxExtents);
  }
  return entry;
}

}  // namespace

std::string to_yaml(const media::FileEntry& entry) {
  YAML::Emitter out;
  out << YAML::BeginDoc << YAML::BeginMap << YAML::Key << "file" << YAML::Value << YAML::BeginMap
      << YAML::Key << "path" << YAML::Value << entry.path << YAML::Key << "size" << YAML::Value
      << entry.size << YAML::Key << "flags" << YAML::Value << entry.flags << YAML::Key << "mode"
      << YAML::Value << fmt::format("0{:o}", entry.mode) << YAML::Key << "uid" << YAML::Value
      << entry.uid << YAML::Key << "gid" << YAML::Value << entry.gid << YAML::Key << "nextents"
      << YAML::Value << (entry.map.interleaved() ? 1 : entry.map.extents.size());
  if (entry.map.interleaved()) {
    out << YAML::Key << "striped_ext_list" << YAML::Value << YAML::BeginSeq << YAML::BeginMap
        << YAML::Key << "nstrips" << YAML::Value << entry.map.extents.size() << YAML::Key
        << "chunk_size" << YAML::Value << fmt::format("{:#x}", entry.map.chunk_size);
    emit_extents(out, entry.map.extents);
    out << YAML::EndMap << YAML::EndSeq;
  } else {
    emit_extents(out, entry.map.extents);
  }
  out << YAML::EndMap << YAML::EndMap << YAML::EndDoc;
  return out.c_str();
}

media::FileEntry from_yaml(std::string_view text) {
  if (text.size() > kLargestText) {
    throw base::Error(EINVAL, "shadow file: {} bytes; at most {} are allowed", text.size(),
                      kLargestText);
  }
  try {
    return parse(YAML::Load(std::string(text)));
  } catch (const YAML::Exception& error) {
    throw base::Error(EINVAL, "shadow file: {}", error.what());
  }
}

ShadowTree::ShadowTree(const std::string& path) {
  const base::FileDescriptor given = base::open_file(path, O_RDONLY | O_DIRECTORY);
  root_ = base::FileDescriptor(open_beneath(given.get(), "root", O_RDONLY | O_DIRECTORY, 0));
  if (!root_)
    root_ = base::FileDescriptor(open_beneath(given.get(), ".", O_RDONLY | O_DIRECTORY, 0));
  if (!root_) throw base::system_error("cannot open shadow directory " + path);
  if (faccessat(root_.get(), ".", W_OK | X_OK, AT_EACCESS) != 0) {
    throw base::system_error("cannot write to shadow directory " + path);
  }
}

base::FileDescriptor ShadowTree::open_parent(const std::string& path) const {
  base::FileDescriptor parent(
      open_beneath(root_.get(), parent_of(path), O_RDONLY | O_DIRECTORY, 0));
  if (!parent) throw base::system_error("shadow tree: parent of " + media::printable(path));
  return parent;
}

void ShadowTree::play(const media::LogEntry& entry, bool compare) {
  if (const auto* directory = std::get_if<media::DirectoryEntry>(&entry.body)) {
    play_directory(*directory);
  } else if (const auto* file = std::get_if<media::FileEntry>(&entry.body)) {
    play_file(*file, compare);
  }
}

void ShadowTree::play_directory(const media::DirectoryEntry& entry) {
  const base::FileDescriptor parent = open_parent(entry.path);
  const std::string name = name_of(entry.path);
  if (mkdirat(parent.get(), name.c_str(), kDirectoryMode) == 0) {
    ++made_;
    return;
  }
  const base::Error failure = base::system_error("shadow tree: " + media::printable(entry.path));
  const base::FileDescriptor existing(open_beneath(parent.get(), name, O_RDONLY | O_DIRECTORY, 0));
  if (failure.code() != EEXIST || !existing) throw failure;
}

void ShadowTree::play_file(const media::FileEntry& entry, bool compare) {
  const std::string shown = media::printable(entry.path);
  const base::FileDescriptor parent = open_parent(entry.path);
  const std::string name = name_of(entry.path);
  const std::string text = to_yaml(entry);
  const base::FileDescriptor fresh(
      open_beneath(parent.get(), name, O_WRONLY | O_CREAT | O_EXCL, kFileMode));
  if (fresh) {
    write_all(fresh.get(), shown, std::as_bytes(std::span(text)), 0);
    ++made_;
    return;
  }
  if (errno != EEXIST) throw base::system_error("shadow tree: " + shown);
  if (!compare) return;
  const base::FileDescriptor existing(open_beneath(parent.get(), name, O_RDONLY, 0));
  if (!existing) throw base::system_error("shadow tree: " + shown);
  std::string found(kLargestText + 1, '\0');
  found.resize(read_full(existing.get(), shown, std::as_writable_bytes(std::span(found)), 0));
  if (from_yaml(found) != entry) {
    throw base::Error(EEXIST,
                      "shadow tree: {} says something else than the log; remove it and play "
                      "again",
                      shown);
  }
}

}  // namespace famfs::cli
