// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "mapping/method.h"
#include "volume/volume.h"

namespace famfs::fuse {

// What famfs says of a file, a directory or the mount in extended attributes, for getfattr(1):
//   user.famfs.shadow    the daemon's run directory (its log, its control socket)
//   user.famfs.devices   JSON: the devices and whether they still hold this file system
//   user.famfs.position  JSON: log entries played, announced by the master, and that fit
//   user.famfs.map       JSON: size, layout and mapping method; files only
//   user.famfs.extents   JSON: where the bytes are, in order of the strips; files only
inline constexpr std::string_view kXattrPrefix = "user.famfs.";
inline constexpr const char* kShadowAttribute = "user.famfs.shadow";

struct XattrSource {
  volume::Volume& volume;
  const mapping::Method& method;
  const std::string& run_directory;
};

// The value of user.famfs.devices.
std::string devices_json(const volume::Volume& volume);

// The names for `node`, each ended by NUL. Throws ESTALE for a node that does not exist.
std::string xattr_names(const volume::Volume& volume, tree::NodeId node);

// Throws ENODATA for a name that `node` does not have, ESTALE for a node that does not exist. Once
// the file system was replaced, shadow and devices are still answered for the root.
std::string xattr_value(const XattrSource& source, tree::NodeId node, std::string_view name);

}  // namespace famfs::fuse
