// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "mapping/fuse_api.h"
#include "tree/tree.h"

namespace famfs::fuse {

// Who made a request. The kernel checks permissions for ordinary operations itself
// (default_permissions); for ioctl(2) it cannot, so the daemon does.
struct Caller {
  uid_t uid;
  gid_t gid;
  std::vector<gid_t> groups;

  static Caller of(fuse_req_t request);

  bool in_group(gid_t group) const;
  // Write and search permission, what creating an entry in `directory` needs.
  bool may_create_in(const tree::Node& directory) const;
  // Only root gives files away.
  bool may_own(std::uint32_t owner, std::uint32_t group) const;
};

}  // namespace famfs::fuse
