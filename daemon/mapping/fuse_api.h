// SPDX-License-Identifier: Apache-2.0
#pragma once

// One place decides which generation of the libfuse interface all of the daemon sees: 3.12 is the
// first with fuse_loop_cfg_*, and both Debian 12 (3.14) and 13 (3.17) have it.
#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>
