// SPDX-License-Identifier: Apache-2.0
#include "tree/tree.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crc32.h"
#include "media/path.h"

namespace famfs::tree {
namespace {

// Every mount of the reference has this directory, so it logs files in it without one for it.
constexpr std::string_view kMetaDirectory = ".meta";

timespec now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return time;
}

media::Finding conflict(uint64_t index, const std::string& path, const char* problem,
                        const char* allowed) {
  return {media::Severity::kDamage,
          media::Area::kLogEntry,
          index,
          "relpath",
          fmt::format("'{}' ({})", media::printable(path), problem),
          allowed};
}

NodeState state_of(const Node& node) {
  return {
      .parent = node.parent,
      .size = node.size,
      .name_checksum = base::crc32(std::as_bytes(std::span(node.name))),
      .directory = node.directory ? 1U : 0U,
      .mode = node.mode,
      .uid = node.uid,
      .gid = node.gid,
      .times = {node.access_time.tv_sec, node.access_time.tv_nsec, node.modification_time.tv_sec,
                node.modification_time.tv_nsec, node.change_time.tv_sec, node.change_time.tv_nsec}};
}

// Fills what files and directories have in common; returns the path.
template <typename Entry>
const std::string& fill(Node& node, const Entry& entry) {
  node.mode = entry.mode;
  node.uid = entry.uid;
  node.gid = entry.gid;
  return entry.path;
}

}  // namespace

auto Tree::hashes() const {
  return [this](NodeId id) {
    const Node& node = nodes_[id - 1];
    return name_hash_(node.parent, node.name);
  };
}

Tree::Tree() {
  Node root;
  root.id = root.parent = kRoot;
  root.directory = true;
  root.mode = 0755;
  root.access_time = root.modification_time = root.change_time = now();
  nodes_.push_back(std::move(root));
}

std::optional<media::Finding> Tree::insert(const media::LogEntry& entry) {
  Node node;
  const std::string* path = nullptr;
  if (const auto* file = std::get_if<media::FileEntry>(&entry.body)) {
    path = &fill(node, *file);
    node.mode &= ~withheld_;
    node.size = file->size;
    node.map = file->map;
  } else if (const auto* directory = std::get_if<media::DirectoryEntry>(&entry.body)) {
    path = &fill(node, *directory);
    node.directory = true;
  } else {
    return std::nullopt;
  }
  const size_t slash = path->rfind('/');
  const auto parent_path =
      slash == std::string::npos ? std::string_view() : std::string_view(*path).substr(0, slash);
  node.name = slash == std::string::npos ? *path : path->substr(slash + 1);
  if (parent_path == kMetaDirectory && !node.directory && lookup_path(parent_path) == nullptr) {
    insert({entry.index, media::DirectoryEntry{.path = std::string(kMetaDirectory), .mode = 0755}});
  }
  const Node* parent = lookup_path(parent_path);
  if (parent == nullptr) {
    return conflict(entry.index, *path, "its directory does not exist",
                    "a path whose directory an earlier entry made");
  }
  if (!parent->directory) {
    return conflict(entry.index, *path, "below a file", "a path below a directory");
  }
  const size_t hash = name_hash_(parent->id, node.name);
  if (find_named(hash, parent->id, node.name) != 0) {
    return conflict(entry.index, *path, "exists already", "a path that no earlier entry made");
  }

  node.id = nodes_.size() + 1;
  node.parent = parent->id;
  const timespec time = now();
  node.access_time = node.modification_time = node.change_time = time;
  Node& above = nodes_[parent->id - 1];
  Node& added = nodes_.emplace_back(std::move(node));
  by_name_.insert(hash, added.id, hashes());
  above.children.push_back(added.id);
  above.modification_time = above.change_time = time;
  if (added.directory) {
    ++above.subdirectories;
  } else {
    ++files_;
    file_bytes_ += added.size;
  }
  return std::nullopt;
}

void Tree::expect(uint64_t nodes) {
  // A header may announce more than there is.
  constexpr uint64_t kMost = 1 << 20;
  by_name_.reserve(count() + std::min(nodes, kMost), hashes());
}

void Tree::rollback(uint64_t count) {
  while (nodes_.size() > std::max<uint64_t>(count, 1)) {
    const Node& node = nodes_.back();
    Node& above = nodes_[node.parent - 1];
    // Children are added at the end, so the newest node is its parent's last child.
    above.children.pop_back();
    if (node.directory) {
      --above.subdirectories;
    } else {
      --files_;
      file_bytes_ -= node.size;
    }
    by_name_.erase(name_hash_(node.parent, node.name), node.id, hashes());
    nodes_.pop_back();
  }
}

const Node* Tree::find(NodeId id) const noexcept {
  return id == 0 || id > nodes_.size() ? nullptr : &nodes_[id - 1];
}

const Node* Tree::lookup(NodeId parent, std::string_view name) const {
  return find(find_named(name_hash_(parent, name), parent, name));
}

NodeId Tree::find_named(size_t hash, NodeId parent, std::string_view name) const {
  return by_name_.find(hash, [&](NodeId id) {
    const Node& node = nodes_[id - 1];
    return node.parent == parent && node.name == name;
  });
}

const Node* Tree::lookup_path(std::string_view path) const {
  const Node* node = &nodes_.front();
  while (!path.empty() && node != nullptr) {
    const size_t slash = path.find('/');
    node = lookup(node->id, path.substr(0, slash));
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
  }
  return node;
}

std::string Tree::path_of(NodeId id) const {
  std::string path;
  for (const Node* node = find(id); node != nullptr && node->id != kRoot;
       node = find(node->parent)) {
    path.insert(0, path.empty() ? node->name : node->name + '/');
  }
  return path;
}

bool Tree::set_attributes(NodeId id, const Attributes& attributes) {
  if (find(id) == nullptr) return false;
  Node& node = nodes_[id - 1];
  if (attributes.mode) node.mode = *attributes.mode & media::kMaxMode;
  if (attributes.uid) node.uid = *attributes.uid;
  if (attributes.gid) node.gid = *attributes.gid;
  if (attributes.access_time) node.access_time = *attributes.access_time;
  if (attributes.modification_time) node.modification_time = *attributes.modification_time;
  node.change_time = now();
  return true;
}

std::vector<NodeState> Tree::states() const {
  std::vector<NodeState> states;
  states.reserve(nodes_.size());
  for (const Node& node : nodes_) states.push_back(state_of(node));
  return states;
}

bool Tree::restore(std::span<const NodeState> states) {
  if (states.size() > nodes_.size()) return false;
  for (size_t i = 0; i < states.size(); ++i) {
    const NodeState& then = states[i];
    const NodeState now = state_of(nodes_[i]);
    if (now.parent != then.parent || now.size != then.size || now.directory != then.directory ||
        now.name_checksum != then.name_checksum) {
      return false;
    }
  }
  for (size_t i = 0; i < states.size(); ++i) {
    Node& node = nodes_[i];
    const NodeState& then = states[i];
    node.mode = then.mode & media::kMaxMode;
    node.uid = then.uid;
    node.gid = then.gid;
    node.access_time = {then.times[0], then.times[1]};
    node.modification_time = {then.times[2], then.times[3]};
    node.change_time = {then.times[4], then.times[5]};
  }
  return true;
}

}  // namespace famfs::tree
