// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/uuid.h"
#include "memory/held_lines.h"
#include "memory/shared_memory.h"

namespace famfs::cli {

// What this host may have in its caches of the files of a file system (memory/held_lines.h), in the
// record that all programs of this user share. Throws base::Error.
memory::HeldLines host_lines(const base::Uuid& file_system);

// For who is about to read or make the log of `memory`, of `log_length` bytes: where that reaches
// further than the log of a later file system, its lines lie in the place of files. Throws
// base::Error.
void note_log(const memory::SharedMemory& memory, std::uint64_t log_length);
// Of the log that the superblock names; nothing where there is no sound one. Invalidates it first.
void note_log(memory::SharedMemory& memory);

}  // namespace famfs::cli
