// SPDX-License-Identifier: Apache-2.0
#include "control/status.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "fuse/xattr.h"
#include "media/path.h"
#include "memory/shared_memory.h"

namespace famfs::control {
namespace {

std::string number(const std::optional<std::uint64_t>& value) {
  return value ? std::to_string(*value) : "null";
}

// Nullopt also where it cannot be known: the file system was replaced.
std::optional<std::uint64_t> announced_by(volume::Volume& volume) {
  try {
    return volume.announced();
  } catch (const base::Error&) {
    return std::nullopt;
  }
}

std::string status(volume::Volume& volume, const fuse::Filesystem& filesystem,
                   const MountFacts& facts) {
  const volume::Statistics statistics = volume.statistics();
  const volume::SpaceNumbers space = volume.space();
  const memory::Counters& memory = statistics.memory;
  const std::optional<std::uint64_t> announced = announced_by(volume);
  std::optional<std::uint64_t> lag;
  if (announced) lag = *announced - std::min(*announced, space.entries_used);
  const mapping::Method* method = filesystem.method();
  std::string out;
  auto to = std::back_inserter(out);
  fmt::format_to(to, "{{\"pid\":{},\"device\":{},\"mount_point\":{},\"run_dir\":{},", getpid(),
                 base::json_string(facts.device), base::json_string(facts.mount_point),
                 base::json_string(facts.run_directory));
  fmt::format_to(to, "\"role\":\"{}\",\"fs_uuid\":\"{}\",\"system_uuid\":\"{}\",\"method\":{},",
                 volume::to_string(volume.role()), volume.superblock().fs_uuid.to_string(),
                 volume.superblock().system_uuid.to_string(),
                 method == nullptr ? "null" : base::json_string(std::string(method->name())));
  if (method != nullptr) {
    const mapping::Statistics told = method->statistics();
    const kmap::Offer offer = filesystem.offer().value_or(kmap::Offer{});
    fmt::format_to(to,
                   "\"mapping\":{{\"method\":{},\"passed_over\":{},\"fuse\":\"{}.{}\","
                   "\"offered\":\"{:#x}\",\"maps_told\":{},\"devices_told\":{},\"refused\":{}}},",
                   base::json_string(std::string(method->name())),
                   base::json_string(filesystem.passed_over()), offer.major, offer.minor,
                   offer.flags, told.maps_told, told.devices_told, told.refused);
  }
  const std::string other_master = volume.other_master();
  fmt::format_to(to, "\"superseded\":{},\"other_master\":{},", volume.superseded(),
                 other_master.empty() ? "null" : base::json_string(other_master));
  fmt::format_to(to,
                 "\"devices\":{},\"log\":{{\"played\":{},\"position\":{},\"announced\":{},"
                 "\"lag\":{},\"capacity\":{},\"skipped\":{},"
                 "\"appended\":{},\"refreshes\":{},\"header_checks\":{},\"identity_checks\":{}}},",
                 fuse::devices_json(volume), statistics.entries_read, space.entries_used,
                 number(announced), number(lag), space.entries_capacity, statistics.entries_skipped,
                 statistics.entries_appended, statistics.refreshes, statistics.header_checks,
                 statistics.identity_checks);
  fmt::format_to(to,
                 "\"space\":{{\"capacity\":{},\"used\":{},\"free\":{},\"files\":{},"
                 "\"directories\":{}}},",
                 space.capacity, space.used, space.free, space.files, space.directories);
  fmt::format_to(to,
                 "\"memory\":{{\"backend\":{},\"lines_invalidated\":{},\"invalidated_bytes\":{},"
                 "\"lines_written_back\":{},\"written_back_bytes\":{},\"fences\":{}}}}}\n",
                 base::json_string(volume.memory().backend()), memory.lines_invalidated,
                 memory.lines_invalidated * memory::kCacheLine, memory.lines_written_back,
                 memory.lines_written_back * memory::kCacheLine, memory.fences);
  return out;
}

std::string icache_stats(const volume::Volume& volume) {
  const volume::SpaceNumbers space = volume.space();
  return fmt::format("nodes: {}\nfiles: {}\ndirectories: {}\nhighest_node: {}\n", space.nodes(),
                     space.files, space.directories, space.nodes());
}

void icache_dump(volume::Volume& volume) {
  const auto tree = volume.tree();
  for (tree::NodeId id = tree::kRoot; id <= tree->count(); ++id) {
    const tree::Node* node = tree->find(id);
    spdlog::info("node {} parent {} {} mode {:04o} owner {}:{} size {} extents {} /{}", node->id,
                 node->parent, node->directory ? "directory" : "file", node->mode, node->uid,
                 node->gid, node->size, node->map.extents.size(),
                 media::printable(tree->path_of(id)));
  }
}

}  // namespace

Reports make_reports(volume::Volume& volume, const fuse::Filesystem& filesystem, MountFacts facts) {
  Reports reports;
  reports.icache_stats = [&volume] { return icache_stats(volume); };
  reports.icache_dump = [&volume] { icache_dump(volume); };
  reports.status = [&volume, &filesystem, facts = std::move(facts)] {
    return status(volume, filesystem, facts);
  };
  return reports;
}

}  // namespace famfs::control
