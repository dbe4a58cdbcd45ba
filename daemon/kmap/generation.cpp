// SPDX-License-Identifier: Apache-2.0
#include "kmap/generation.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <charconv>
#include <fstream>
#include <limits>
#include <memory>

namespace famfs::kmap {
namespace {

// In the posted series' fs/fuse; other programs for famfs recognize it by the same name.
constexpr std::string_view kSymbol = " famfs_fuse_iomap_begin";
constexpr unsigned kV10Minor = 46;
constexpr unsigned kFirstOtherMajor = 7;  // Linux 7.3: bit 43 is FUSE_HAS_IO_URING_BUFPOOL
constexpr unsigned kFirstOtherMinor = 3;

bool has_symbol() {
  std::ifstream symbols("/proc/kallsyms");
  std::string line;
  while (std::getline(symbols, line)) {
    const std::size_t at = line.find(kSymbol);
    if (at == std::string::npos) continue;
    const std::size_t end = at + kSymbol.size();
    if (end == line.size() || line[end] == '\t') return true;
  }
  return false;
}

}  // namespace

Generation parse_release(std::string_view release) noexcept {
  constexpr unsigned kNewest = std::numeric_limits<unsigned>::max();
  Generation generation{kNewest, kNewest, false};
  const char* const end = std::to_address(release.end());
  unsigned major = 0;
  const auto first = std::from_chars(std::to_address(release.begin()), end, major);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '.') return generation;
  unsigned minor = 0;
  if (std::from_chars(first.ptr + 1, end, minor).ec != std::errc()) return generation;
  generation.release_major = major;
  generation.release_minor = minor;
  return generation;
}

Generation Generation::of_this_kernel() {
  static const Generation running = [] {
    utsname names{};
    uname(&names);
    Generation generation = parse_release(names.release);
    // A hundred thousand lines: read only where the answer matters, and once.
    if (why_not_v10({generation.release_major, generation.release_minor, true}, 7, kV10Minor)
            .empty()) {
      generation.has_famfs_symbol = has_symbol();
    }
    return generation;
  }();
  return running;
}

std::string why_not_v10(const Generation& generation, unsigned major, unsigned minor) {
  if (major != 7 || minor != kV10Minor) {
    return fmt::format("the posted series speaks protocol 7.{}, this kernel {}.{}", kV10Minor,
                       major, minor);
  }
  if (generation.release_major > kFirstOtherMajor ||
      (generation.release_major == kFirstOtherMajor &&
       generation.release_minor >= kFirstOtherMinor)) {
    return "from Linux 7.3 on it is FUSE_HAS_IO_URING_BUFPOOL";
  }
  if (!generation.has_famfs_symbol) {
    return "the kernel does not have the functions of the posted series";
  }
  return {};
}

}  // namespace famfs::kmap
