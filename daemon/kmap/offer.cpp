// SPDX-License-Identifier: Apache-2.0
#include "kmap/offer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "kmap/uapi.h"

namespace famfs::kmap {
namespace {

constexpr std::array kAll{Protocol::kExtentMap, Protocol::kFmap, Protocol::kFmapV10};

}  // namespace

std::string_view name_of(Protocol protocol) noexcept {
  switch (protocol) {
    case Protocol::kExtentMap:
      return "extent-map";
    case Protocol::kFmap:
      return "fmap";
    case Protocol::kFmapV10:
      return "fmap-v10";
  }
  return "unknown";
}

std::optional<Offer> parse_init(std::span<const std::byte> body, const Generation& generation) {
  if (body.size() < uapi::kInitInOldSize) return std::nullopt;
  uapi::InitIn in{};
  std::memcpy(&in, body.data(), std::min(body.size(), sizeof(in)));
  Offer offer{in.major, in.minor, in.flags, generation};
  // Without the flag that says so, what lies behind `flags` is not flags2.
  if (offer.has(uapi::kInitExt) && body.size() >= offsetof(uapi::InitIn, unused)) {
    offer.flags |= std::uint64_t{in.flags2} << 32;
  }
  return offer;
}

std::string missing(Protocol protocol, const Offer& offer) {
  switch (protocol) {
    case Protocol::kExtentMap:
      if (!offer.has(uapi::kPassthroughV2)) {
        return "the kernel does not offer FUSE_PASSTHROUGH_V2 (bit 45)";
      }
      if (!offer.has(uapi::kPassthrough)) {
        return "the kernel offers FUSE_PASSTHROUGH_V2 without FUSE_PASSTHROUGH (bit 37)";
      }
      return {};
    case Protocol::kFmap:
      if (offer.has(uapi::kDaxFmap)) return {};
      return "the kernel does not offer FUSE_DAX_FMAP (bit 62; it does so only to a mounter with "
             "CAP_SYS_RAWIO)";
    case Protocol::kFmapV10:
      if (!offer.has(uapi::kBit43)) return "the kernel does not offer bit 43";
      if (offer.has(uapi::kDaxFmap)) return "the kernel has FUSE_DAX_FMAP (bit 62) instead";
      if (const std::string why = why_not_v10(offer.generation, offer.major, offer.minor);
          !why.empty()) {
        return "bit 43 does not mean file maps here: " + why;
      }
      return {};
  }
  return "it is not known";
}

bool shares_devices(Protocol protocol) noexcept {
  // The posted series holds a device exclusively for one connection.
  return protocol != Protocol::kFmapV10;
}

std::optional<Protocol> best(const Offer& offer) {
  for (const Protocol protocol : kAll) {
    if (missing(protocol, offer).empty()) return protocol;
  }
  return std::nullopt;
}

std::optional<Protocol> best_for_mount(const Offer& offer) {
  const auto protocol = best(offer);
  return protocol && shares_devices(*protocol) ? protocol : std::nullopt;
}

InitAnswer init_answer(Protocol protocol) noexcept {
  switch (protocol) {
    case Protocol::kExtentMap:
      // The kernel ignores FUSE_PASSTHROUGH, and V2 with it, unless a stack depth is allowed.
      return {uapi::kInitExt | uapi::kPassthrough | uapi::kPassthroughV2, 1};
    case Protocol::kFmap:
      return {uapi::kInitExt | uapi::kDaxFmap, 0};
    case Protocol::kFmapV10:
      return {uapi::kInitExt | uapi::kBit43, 0};
  }
  return {};
}

}  // namespace famfs::kmap
