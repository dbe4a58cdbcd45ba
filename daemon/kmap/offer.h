// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kmap/generation.h"

namespace famfs::kmap {

// How a kernel can be told where the bytes of files are. Names as in `-o method=`.
enum class Protocol {
  kExtentMap,  // FUSE_PASSTHROUGH_V2: the server sends a map before it answers OPEN
  kFmap,       // our kernels' private flag: the kernel asks with GET_FMAP
  kFmapV10,    // the same messages as they were posted, on kernels that were built with that series
};

std::string_view name_of(Protocol protocol) noexcept;

// What a kernel said in FUSE_INIT.
struct Offer {
  unsigned major = 0;
  unsigned minor = 0;
  std::uint64_t flags = 0;  // FUSE_INIT's own bits, flags2 in the upper half
  Generation generation{};

  bool has(std::uint64_t flag) const noexcept { return (flags & flag) == flag; }
};

// The body of a FUSE_INIT request. nullopt if it is too short to be one.
std::optional<Offer> parse_init(std::span<const std::byte> body, const Generation& generation);

// What this kernel lacks for a protocol; empty if it can be used.
std::string missing(Protocol protocol, const Offer& offer);

// Whether several connections can use a device at the same time. Where they cannot, a mount has no
// room for the daemon's own window of superblock and log (memory/device_window.h).
bool shares_devices(Protocol protocol) noexcept;

// The best protocol of this kernel, in the order of the enumeration; nullopt if it has none.
std::optional<Protocol> best(const Offer& offer);
// The same of those that a mount can use.
std::optional<Protocol> best_for_mount(const Offer& offer);

// What an answer to FUSE_INIT must say to use a protocol.
struct InitAnswer {
  std::uint64_t flags = 0;  // to be added
  std::uint32_t max_stack_depth = 0;
};
InitAnswer init_answer(Protocol protocol) noexcept;

}  // namespace famfs::kmap
