// SPDX-License-Identifier: Apache-2.0
#include "fuse/xattr.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <iterator>

#include "base/error.h"
#include "base/json.h"
#include "media/path.h"

namespace famfs::fuse {
namespace {

struct Xattr {
  std::string_view name;
  bool files_only;
  std::string (*value)(const XattrSource& source, tree::NodeId node);
};

std::string shadow(const XattrSource& source, tree::NodeId /*node*/) {
  return source.run_directory;
}

std::string devices(const XattrSource& source, tree::NodeId /*node*/) {
  return devices_json(source.volume);
}

std::string position(const XattrSource& source, tree::NodeId /*node*/) {
  const auto announced = source.volume.announced();
  const volume::SpaceNumbers space = source.volume.space();
  return fmt::format(R"({{"played":{},"announced":{},"capacity":{}}})", space.entries_used,
                     announced ? std::to_string(*announced) : "null", space.entries_capacity);
}

std::string map(const XattrSource& source, tree::NodeId node) {
  const auto tree = source.volume.tree();
  const tree::Node& file = *tree->find(node);
  const std::size_t extents = file.map.extents.size();
  const std::string layout = file.map.chunk_size == 0
                                 ? fmt::format(R"("contiguous","extents":{})", extents)
                                 : fmt::format(R"("interleaved","strips":{},"chunk_size":{})",
                                               extents, file.map.chunk_size);
  return fmt::format(R"({{"size":{},"method":"{}","layout":{}}})", file.size, source.method.name(),
                     layout);
}

std::string extents(const XattrSource& source, tree::NodeId node) {
  const auto tree = source.volume.tree();
  std::string out = "[";
  for (const media::Extent& extent : tree->find(node)->map.extents) {
    fmt::format_to(std::back_inserter(out), R"({}{{"device":{},"offset":{},"length":{}}})",
                   out.size() == 1 ? "" : ",", extent.device_index, extent.offset, extent.length);
  }
  return out + "]";
}

constexpr auto kXattrs = std::to_array<Xattr>({
    {kShadowAttribute, false, shadow},
    {"user.famfs.devices", false, devices},
    {"user.famfs.position", false, position},
    {"user.famfs.map", true, map},
    {"user.famfs.extents", true, extents},
});

bool is_file(const volume::Volume& volume, tree::NodeId id) {
  const auto tree = volume.tree();
  const tree::Node* node = tree->find(id);
  if (node == nullptr) throw base::Error(ESTALE, "node {} does not exist", id);
  return !node->directory;
}

}  // namespace

std::string devices_json(const volume::Volume& volume) {
  const memory::SharedMemory& memory = volume.memory();
  std::string out = fmt::format(R"([{{"index":0,"name":{},"size":{},"state":"{}"}})",
                                base::json_string(memory.name()), memory.size(),
                                volume.superseded() ? "replaced" : "current");
  for (const volume::DeviceState& device : volume.devices()) {
    const bool missing = device.path.empty();
    fmt::format_to(std::back_inserter(out),
                   R"(,{{"index":{},"uuid":"{}","name":{},"size":{},"state":"{}","reason":{}}})",
                   device.entry.index, device.entry.uuid.to_string(),
                   missing ? "null" : base::json_string(device.path), device.entry.size,
                   missing ? "missing" : "current",
                   missing ? base::json_string(device.reason) : "null");
  }
  return out + ']';
}

std::string xattr_names(const volume::Volume& volume, tree::NodeId node) {
  const bool file = is_file(volume, node);
  std::string names;
  for (const Xattr& attribute : kXattrs) {
    if (file || !attribute.files_only) names.append(attribute.name).push_back('\0');
  }
  return names;
}

std::string xattr_value(const XattrSource& source, tree::NodeId node, std::string_view name) {
  // After the file system was replaced, only the root is asked: `famfs umount` finds the daemon so.
  const bool file = node != tree::kRoot && is_file(source.volume, node);
  for (const Xattr& attribute : kXattrs) {
    if (attribute.name == name && (file || !attribute.files_only)) {
      return attribute.value(source, node);
    }
  }
  throw base::Error(ENODATA, "no attribute {}", media::printable(name));
}

}  // namespace famfs::fuse
