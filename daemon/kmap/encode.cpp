// SPDX-License-Identifier: Apache-2.0
#include "kmap/encode.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

#include "kmap/message.h"
#include "kmap/uapi.h"

namespace famfs::kmap {
namespace {

struct Limits {
  std::uint64_t alignment;
  std::uint64_t largest_chunk;
  std::size_t simple;  // strips of a file that is not interleaved
  std::size_t strips;  // of one that is
  std::uint32_t devices;
};

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPmd = 2ULL << 20;
constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kAny32 = std::numeric_limits<std::uint32_t>::max();

constexpr Limits limits_of(Protocol protocol) noexcept {
  switch (protocol) {
    case Protocol::kFmap:
      return {kPage, kAny32, 4096, 32, 64};
    case Protocol::kFmapV10:
      // Another device than 0 is refused by that kernel although the messages have room for it.
      return {kPmd, kAny32, 32, 32, 1};
    case Protocol::kExtentMap:
      break;
  }
  return {kPage, kAny, 1365, 1365, 64};
}

class Writer {
 public:
  template <typename T>
  void add(const T& value) {
    const auto bytes = bytes_of(value);
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }
  std::vector<std::byte> take() { return std::move(out_); }

 private:
  std::vector<std::byte> out_;
};

}  // namespace

std::string misfit(Protocol protocol, const Map& map) {
  const Limits limits = limits_of(protocol);
  const bool interleaved = map.chunk_size != 0;
  const std::size_t most = interleaved ? limits.strips : limits.simple;
  if (map.strips.empty() || map.strips.size() > most) {
    return fmt::format("it has {} {}; 1 to {} are allowed", map.strips.size(),
                       interleaved ? "strips" : "extents", most);
  }
  if (interleaved &&
      (map.chunk_size % limits.alignment != 0 || map.chunk_size > limits.largest_chunk)) {
    return fmt::format("its chunk size is {}; multiples of {} up to {} are allowed", map.chunk_size,
                       limits.alignment, limits.largest_chunk);
  }
  for (const Strip& strip : map.strips) {
    if (strip.device >= limits.devices) {
      return fmt::format("it lies on device {}; 0 to {} are allowed", strip.device,
                         limits.devices - 1);
    }
    if (strip.length == 0 || (strip.offset | strip.length) % limits.alignment != 0) {
      return fmt::format("it has {} bytes at {} of a device; multiples of {} are allowed",
                         strip.length, strip.offset, limits.alignment);
    }
  }
  return {};
}

std::vector<std::byte> encode_fmap(const Map& map) {
  const bool interleaved = map.chunk_size != 0;
  Writer out;
  uapi::FmapHeader header{};
  header.fmap_version = uapi::kFmapVersion;
  header.ext_type = interleaved ? uapi::kExtInterleave : uapi::kExtSimple;
  header.nextents = interleaved ? 1 : static_cast<std::uint32_t>(map.strips.size());
  header.file_size = map.size;
  out.add(header);
  if (interleaved) {
    uapi::Iext extent{};
    extent.nstrips = static_cast<std::uint32_t>(map.strips.size());
    extent.chunk_size = static_cast<std::uint32_t>(map.chunk_size);
    extent.nbytes = map.size;
    out.add(extent);
  }
  for (const Strip& strip : map.strips) {
    out.add(uapi::SimpleExt{strip.device, 0, strip.offset, strip.length});
  }
  return out.take();
}

std::vector<std::byte> encode_backing_map(std::uint64_t id, const Map& map,
                                          std::uint64_t first_device) {
  const bool interleaved = map.chunk_size != 0;
  Writer out;
  uapi::BackingMap head{};
  head.backing_id = id;
  head.num_extents = static_cast<std::uint32_t>(map.strips.size());
  head.flags = uapi::kMapCreate | (interleaved ? uapi::kMapCyclic : 0);
  out.add(head);
  std::uint64_t offset = 0;
  for (const Strip& strip : map.strips) {
    uapi::BackingExtent extent{};
    extent.offset = offset;
    extent.length = interleaved ? map.chunk_size : strip.length;
    extent.backing_id = first_device + strip.device;
    extent.addr = strip.offset;
    out.add(extent);
    offset += extent.length;
  }
  return out.take();
}

}  // namespace famfs::kmap
