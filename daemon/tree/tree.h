// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <ctime>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "media/finding.h"
#include "media/log_entry.h"
#include "tree/name_hash.h"
#include "tree/name_index.h"

namespace famfs::tree {

using NodeId = uint64_t;
inline constexpr NodeId kRoot = 1;  // as FUSE numbers it

// A file or directory. Ids are dense from 1, given in log order, never reused while mounted.
struct Node {
  NodeId id = 0;
  NodeId parent = 0;  // the root is its own parent
  std::string name;
  bool directory = false;
  uint32_t mode = 0;  // permission bits
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t size = 0;             // bytes; 0 for a directory
  media::FileMap map;            // empty for a directory
  std::vector<NodeId> children;  // in the order of creation: position = readdir offset
  uint64_t subdirectories = 0;   // for the link count: 2 + subdirectories
  timespec access_time{};        // the medium has no times: when this host learned of it,
  timespec modification_time{};  // until changed here
  timespec change_time{};
};

// A node as its users know it, without what the log says of it again.
struct NodeState {
  uint64_t parent = 0;
  uint64_t size = 0;
  uint32_t name_checksum = 0;  // CRC-32
  uint32_t directory = 0;      // 0 or 1
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t reserved = 0;
  std::array<int64_t, 6> times{};  // access, modification, change: seconds and nanoseconds each
};

// The name space, built entry by entry from the log. Not thread-safe (volume::Volume locks).
// References to nodes stay valid while the tree lives and the node is not rolled back.
class Tree {
 public:
  // Only the root directory: mode 0755, owner 0:0.
  Tree();
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  // Adds what a validated FILE or MKDIR entry says; the new node has the highest id. The directory
  // .meta is made for the first file in it, if need be. A finding (and
  // no change) for a path that exists, whose parent is missing, or whose parent is a file. Entries
  // of other types change nothing.
  std::optional<media::Finding> insert(const media::LogEntry& entry);

  // Makes room for about that many more nodes: growing step by step costs more than a node does.
  void expect(uint64_t nodes);

  // Removes the newest nodes until `count` remain (count >= 1): undoes insertions.
  void rollback(uint64_t count);

  // Number of nodes, the root included; also the highest id.
  uint64_t count() const noexcept { return nodes_.size(); }
  uint64_t files() const noexcept { return files_; }
  uint64_t directories() const noexcept { return count() - files_; }
  uint64_t file_bytes() const noexcept { return file_bytes_; }  // sum of sizes

  // nullptr for an id that does not exist.
  const Node* find(NodeId id) const noexcept;
  // nullptr if `parent` has no child of that name (or is no directory).
  const Node* lookup(NodeId parent, std::string_view name) const;
  // By path relative to the root; "" is the root. nullptr if there is no such node.
  const Node* lookup_path(std::string_view path) const;
  // Path relative to the root, without leading '/'; "" for the root and for unknown ids.
  std::string path_of(NodeId id) const;

  // Local to this host and this mount, as the medium records no later change.
  struct Attributes {
    std::optional<uint32_t> mode{};
    std::optional<uint32_t> uid{};
    std::optional<uint32_t> gid{};
    std::optional<timespec> access_time{};
    std::optional<timespec> modification_time{};
  };
  // Permission bits that files added from now on do not get, whatever the log says.
  void withhold(uint32_t file_mode_bits) noexcept { withheld_ = file_mode_bits; }

  // False for an unknown id. Sets the change time to now.
  bool set_attributes(NodeId id, const Attributes& attributes);

  // Of every node, by id.
  std::vector<NodeState> states() const;
  // Takes modes, owners and times of states(), of the same log when it was no longer. False, and no
  // change, if parents, names, kinds or sizes are others.
  bool restore(std::span<const NodeState> states);

 private:
  NodeId find_named(size_t hash, NodeId parent, std::string_view name) const;
  // For by_name_, of a node that exists.
  auto hashes() const;

  std::deque<Node> nodes_;  // nodes_[id - 1]
  NameHash name_hash_;
  NameIndex by_name_;
  uint64_t files_ = 0;
  uint64_t file_bytes_ = 0;
  uint32_t withheld_ = 0;
};

}  // namespace famfs::tree
