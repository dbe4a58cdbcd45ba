// SPDX-License-Identifier: Apache-2.0
#include "volume/contents.h"

#include <fmt/format.h>

#include "media/path.h"

namespace famfs::volume {

std::optional<media::Finding> Contents::add(const media::LogEntry& entry) {
  const uint64_t nodes = tree.count();
  if (auto finding = tree.insert(entry)) return finding;
  const auto* file = std::get_if<media::FileEntry>(&entry.body);
  if (file == nullptr) return std::nullopt;
  const auto collision = space.reserve(file->map, tree.count());
  if (!collision) return std::nullopt;

  // An owner that is the new node itself means two extents of one file.
  const std::string owner = media::printable(tree.path_of(collision->owner));
  tree.rollback(nodes);
  return media::Finding{
      media::Severity::kDamage,
      media::Area::kLogEntry,
      entry.index,
      "fmap",
      fmt::format("{} bytes at {} of '{}' that overlap '{}'", collision->extent.length,
                  collision->extent.offset, media::printable(file->path), owner),
      "space that no file uses"};
}

void Contents::rollback(uint64_t nodes) {
  for (uint64_t id = tree.count(); id > nodes; --id) space.release(tree.find(id)->map);
  tree.rollback(nodes);
}

}  // namespace famfs::volume
