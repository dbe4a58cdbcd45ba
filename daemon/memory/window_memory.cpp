// SPDX-License-Identifier: Apache-2.0
#include "memory/window_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "memory/cache_line.h"

namespace famfs::memory {
namespace {

// Parts are multiples of this, so that the kernel can use large pages.
constexpr uint64_t kUnit = 2ULL << 20;

}  // namespace

WindowMemory::WindowMemory(std::string name, uint64_t size, bool writable)
    : SharedMemory(std::move(name), size, writable),
      window_(std::make_unique<DeviceWindow>(this->name())),
      range_(base::Mapping::reserved(size, kUnit)) {
  set_base(range_.data());
  set_reachable(0);
}

WindowMemory::WindowMemory(std::string name, uint64_t size, int pid,
                           const std::vector<SharedPart>& parts)
    : SharedMemory(std::move(name), size, false), range_(base::Mapping::reserved(size, kUnit)) {
  set_base(range_.data());
  set_reachable(0);
  for (const SharedPart& part : parts) {
    check_on_device(part.offset, part.length, "part");
    if (part.offset != reachable()) {
      throw base::Error(EINVAL, "{}: a part at {} where {} is expected", this->name(), part.offset,
                        reachable());
    }
    add({{part.offset, part.length},
         base::open_file(fmt::format("/proc/{}/fd/{}", pid, part.fd), O_RDONLY)});
  }
}

void WindowMemory::add(Piece piece) {
  range_.replace(piece.part.offset, piece.file.get(), piece.part.length, writable());
  set_reachable(piece.part.offset + piece.part.length);
  pieces_.push_back(std::move(piece));
}

void WindowMemory::reach(uint64_t length) {
  check_on_device(0, length, "reach");
  if (length <= reachable()) return;
  if (!window_) {
    throw base::Error(ERANGE, "{}: {} bytes are wanted, the mount has {}", name(), length,
                      reachable());
  }
  const uint64_t end = std::min(base::round_up(length, kUnit).value_or(size()), size());
  const DeviceWindow::Part part{reachable(), end - reachable()};
  add({part, window_->open(part, writable())});
}

std::vector<SharedPart> WindowMemory::share() const {
  std::vector<SharedPart> shared;
  shared.reserve(pieces_.size());
  for (const Piece& piece : pieces_) {
    shared.push_back({piece.part.offset, piece.part.length, piece.file.get()});
  }
  return shared;
}

void WindowMemory::write_back_lines(uint64_t offset, uint64_t length) {
  cpu_write_back(base() + offset, length);
}

void WindowMemory::invalidate_lines(uint64_t offset, uint64_t length) {
  cpu_invalidate(base() + offset, length);
}

void WindowMemory::store_fence() { cpu_store_fence(); }

void WindowMemory::load_fence() { cpu_load_fence(); }

}  // namespace famfs::memory
