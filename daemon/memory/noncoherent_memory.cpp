// SPDX-License-Identifier: Apache-2.0
#include "memory/noncoherent_memory.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace famfs::memory {

NoncoherentMemory::NoncoherentMemory(std::string name, base::FileDescriptor file, uint64_t size,
                                     bool writable)
    : SharedMemory(std::move(name), size, writable),
      file_(std::move(file)),
      copy_(base::Mapping::anonymous(size)),
      clean_(base::Mapping::anonymous(size)) {
  set_base(copy_.data());
  load_file();
}

void NoncoherentMemory::load_file() {
  uint64_t at = 0;
  while (at < size()) {
    const off_t data = ::lseek(file_.get(), static_cast<off_t>(at), SEEK_DATA);
    if (data < 0) {
      if (errno == ENXIO) return;  // only a hole is left
      throw base::system_error("cannot find data in " + name());
    }
    const off_t hole = ::lseek(file_.get(), data, SEEK_HOLE);
    if (hole < 0) throw base::system_error("cannot find holes in " + name());
    const uint64_t begin = std::min(static_cast<uint64_t>(data), size());
    const uint64_t end = std::min(static_cast<uint64_t>(hole), size());
    fetch(begin, end - begin);
    at = static_cast<uint64_t>(hole);
  }
}

void NoncoherentMemory::fetch(uint64_t offset, uint64_t length) {
  while (length > 0) {
    const ssize_t count = ::pread(file_.get(), base() + offset, length, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw base::system_error("cannot read " + name());
    if (count == 0) throw base::Error(EIO, "{} became shorter than {} bytes", name(), size());
    std::memcpy(clean_.data() + offset, base() + offset, static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
    length -= static_cast<uint64_t>(count);
  }
}

void NoncoherentMemory::write_back_lines(uint64_t offset, uint64_t length) {
  const uint64_t end = std::min(offset + length, size());
  const std::scoped_lock lock(mutex_);
  for (uint64_t at = offset; at < end;) {
    if (!is_dirty(at)) {
      at += kCacheLine;
      continue;
    }
    const uint64_t begin = at;
    while (at < end && is_dirty(at)) at += kCacheLine;
    const uint64_t run = std::min(at, end) - begin;
    pending_.push_back({begin, {base() + begin, base() + begin + run}});
    std::memcpy(clean_.data() + begin, base() + begin, run);
  }
}

bool NoncoherentMemory::is_dirty(uint64_t offset) const {
  const uint64_t length = std::min(kCacheLine, size() - offset);
  return std::memcmp(base() + offset, clean_.data() + offset, length) != 0;
}

void NoncoherentMemory::invalidate_lines(uint64_t offset, uint64_t length) {
  length = std::min(length, size() - offset);
  const std::scoped_lock lock(mutex_);
  // A processor orders an invalidation after a write-back of the same line.
  complete_pending();
  fetch(offset, length);
}

void NoncoherentMemory::store_fence() {
  const std::scoped_lock lock(mutex_);
  complete_pending();
}

void NoncoherentMemory::complete_pending() {
  for (const Pending& pending : pending_) {
    uint64_t done = 0;
    while (done < pending.bytes.size()) {
      const ssize_t count =
          ::pwrite(file_.get(), pending.bytes.data() + done, pending.bytes.size() - done,
                   static_cast<off_t>(pending.offset + done));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw base::system_error("cannot write " + name());
      done += static_cast<uint64_t>(count);
    }
  }
  pending_.clear();
}

}  // namespace famfs::memory
