// SPDX-License-Identifier: Apache-2.0
#include "cli/host_lines.h"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "control/run_directory.h"
#include "media/layout.h"
#include "memory/dax_device.h"
#include "volume/follower.h"

namespace famfs::cli {
namespace {

std::uint64_t physical_start(const std::string& device) {
  return memory::describe_dax_device(device).resource;
}

void drop_lines(const std::string& device, std::vector<memory::Range> ranges) {
  spdlog::debug("{}: dropping lines of {} extents that were another file system's", device,
                ranges.size());
  try {
    memory::drop_lines_of_device(device, std::move(ranges));
  } catch (const base::Error& error) {
    // Of memory that has failed nobody can read anything, old or new.
    if (error.code() != EIO) throw;
    spdlog::warn("{}", error.what());
  }
}

}  // namespace

memory::HeldLines host_lines(const base::Uuid& file_system) {
  return {
      control::RunDirectory::default_root() + ".lines", file_system, {physical_start, drop_lines}};
}

void note_log(const memory::SharedMemory& memory, std::uint64_t log_length) {
  const memory::Range log{0, media::file_space_offset(log_length)};
  // As no file system's, so that the first open of any file there drops it.
  host_lines(base::Uuid{}).note(memory.name(), {&log, 1});
}

void note_log(memory::SharedMemory& memory) {
  std::uint64_t log_length = 0;
  try {
    log_length = volume::load_superblock(memory).log_len;
  } catch (const base::Error& error) {
    if (error.code() == ENODATA || error.code() == EUCLEAN) return;
    throw;
  }
  note_log(memory, log_length);
}

}  // namespace famfs::cli
