// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "base/uuid.h"
#include "media/log_entry.h"
#include "media/superblock.h"
#include "memory/shared_memory.h"

namespace famfs::volume {

struct FormatOptions {
  uint64_t log_len = media::kMinimumLogLength;   // bytes, power of two, at least 8 MiB
  uint64_t alloc_unit = media::kAllocationUnit;  // 4 KiB or 2 MiB
  bool force = false;                            // replace an existing famfs
  base::Uuid system_uuid{};                      // of this host, which becomes the master
  std::vector<memory::SharedMemory*> devices{};  // further devices, in order
};

// Makes a new famfs on `memory` (mkfs) and returns its superblock. Hosts that have the old one
// mounted notice: the old magic is gone, and fenced, before the log is touched, and the new
// superblock is written last. Throws base::Error before anything is stored: EINVAL (log_len or
// alloc_unit, naming what is allowed), ENOSPC (device below 4 GiB or too small for the log, or a
// further one below 4 MiB, or too many), EEXIST (a famfs is there and force is not given; says
// whose it is), EROFS.
media::Superblock format(memory::SharedMemory& memory, const FormatOptions& options);

// Makes `memory` the device `index` of a file system, with a new uuid, and returns what the log
// has to say about it. Throws as format(), before anything is stored.
media::DaxDeviceEntry format_device(memory::SharedMemory& memory,
                                    const media::Superblock& superblock, uint32_t index,
                                    bool force);

// Clears the superblock's magic so that no famfs is there (mkfs --kill --force). Throws EINVAL
// without force, EROFS. Returns whether there was a superblock.
bool kill(memory::SharedMemory& memory, bool force);

}  // namespace famfs::volume
