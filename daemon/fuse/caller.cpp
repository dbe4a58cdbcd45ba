// SPDX-License-Identifier: Apache-2.0
#include "fuse/caller.h"

#include <algorithm>

namespace famfs::fuse {

Caller Caller::of(fuse_req_t request) {
  const fuse_ctx* context = fuse_req_ctx(request);
  Caller caller{context->uid, context->gid, {}};
  if (caller.uid == 0) return caller;
  const int count = fuse_req_getgroups(request, 0, nullptr);
  if (count > 0) {
    caller.groups.resize(static_cast<std::size_t>(count));
    // The process may have changed its groups between the two calls.
    const int got = fuse_req_getgroups(request, count, caller.groups.data());
    caller.groups.resize(static_cast<std::size_t>(std::clamp(got, 0, count)));
  }
  return caller;
}

bool Caller::in_group(gid_t group) const {
  return gid == group || std::find(groups.begin(), groups.end(), group) != groups.end();
}

bool Caller::may_create_in(const tree::Node& directory) const {
  constexpr std::uint32_t kWriteAndSearch = 03;
  if (uid == 0) return true;
  unsigned shift = 0;
  if (uid == directory.uid) {
    shift = 6;
  } else if (in_group(directory.gid)) {
    shift = 3;
  }
  return ((directory.mode >> shift) & kWriteAndSearch) == kWriteAndSearch;
}

bool Caller::may_own(std::uint32_t owner, std::uint32_t group) const {
  return uid == 0 || (owner == uid && in_group(group));
}

}  // namespace famfs::fuse
