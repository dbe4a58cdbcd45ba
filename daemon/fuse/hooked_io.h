// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "mapping/fuse_api.h"

namespace famfs::fuse {

// Lets every message of `session`, whose user data is a Filesystem, pass through that one's hook,
// and the session read from and write to `fd`. Throws base::Error.
void install_hook(fuse_session* session, int fd);

}  // namespace famfs::fuse
