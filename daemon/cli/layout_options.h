// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/command.h"
#include "cli/mount_client.h"

namespace famfs::cli {

// -N, -B and -C, the same for creat and cp. Given alone, -N takes as many buckets as strips.
void add_interleave(CLI::App& app, Interleave& interleave);

// Checks what can be checked without the device and fills in the buckets. Throws UsageError.
Interleave completed(Interleave interleave);

}  // namespace famfs::cli
