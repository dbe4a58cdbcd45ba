// SPDX-License-Identifier: Apache-2.0
#include "mapsrv/session.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "mapsrv/check.h"

namespace mapsrv {

Session::Session(Method chosen, const std::vector<std::string>& devices)
    : server(chosen, devices), method(chosen) {
  if (method != Method::kBacking || !offered()) return;
  for (unsigned index = 0; index < devices.size(); ++index) {
    abi::BackingCreateIn in{};
    in.fd = ::open(devices[index].c_str(), O_RDWR | O_CLOEXEC);
    in.backing_id = device_backing(index);
    REQUIRE(in.fd >= 0);
    REQUIRE(ioctl(server.fuse(), abi::kIoctlBackingCreate, &in) == 0);
    close(in.fd);
  }
}

bool Session::offered() const {
  const std::uint64_t flag = method == Method::kFmap ? abi::kInitDaxFmap : abi::kInitPassthroughV2;
  return (server.offered() & flag) != 0;
}

void Session::map(File& file, std::uint64_t size, const Range& range) {
  file.size = size;
  if (method == Method::kFmap) {
    file.fmap = Fmap(size, 0, 1).simple(range.device, range.offset, range.length).bytes();
    return;
  }
  abi::BackingExtent extent{};
  extent.length = range.length;
  extent.backing_id = device_backing(range.device);
  extent.addr = range.offset;
  file.backing = new_backing();
  EXPECT(send_map(file.backing, abi::kMapCreate, {extent}) == 0);
}

void Session::map_strips(File& file, std::uint64_t size, std::uint64_t chunk,
                         const std::vector<Range>& strips) {
  file.size = size;
  if (method == Method::kFmap) {
    Fmap fmap(size, 1, 1);
    fmap.interleaved(static_cast<std::uint32_t>(strips.size()), static_cast<std::uint32_t>(chunk),
                     size);
    for (const Range& strip : strips) fmap.simple(strip.device, strip.offset, strip.length);
    file.fmap = fmap.bytes();
    return;
  }
  std::vector<abi::BackingExtent> extents;
  for (const Range& strip : strips) {
    abi::BackingExtent extent{};
    extent.offset = extents.size() * chunk;
    extent.length = chunk;
    extent.backing_id = device_backing(strip.device);
    extent.addr = strip.offset;
    extents.push_back(extent);
  }
  file.backing = new_backing();
  EXPECT(send_map(file.backing, abi::kMapCreate | abi::kMapCyclic, extents) == 0);
}

int Session::send_map(std::uint64_t backing, std::uint32_t flags,
                      const std::vector<abi::BackingExtent>& extents) const {
  const abi::BackingMap head{backing, static_cast<std::uint32_t>(extents.size()), flags, {0, 0}};
  return server.notify(abi::kNotifyBackingMap, bytes_of(head), std::as_bytes(std::span(extents)));
}

std::string Session::path(const File& file) { return std::string(kMountPoint) + "/" + file.name; }

int Session::open(const File& file, int flags) {
  return ::open(path(file).c_str(), flags | O_CLOEXEC);
}

void Session::expect_open(const File& file, int error, const std::string& what) const {
  const int fd = open(file, O_RDONLY);
  const int got = fd >= 0 ? 0 : errno;
  EXPECT(got == error,
         what + ": opening gave " + std::strerror(got) + ", wanted " + std::strerror(error));
  if (fd >= 0) close(fd);
  withdraw(file);
}

std::uint8_t pattern(std::uint64_t offset, unsigned seed) {
  const std::uint64_t word = (offset / 8 + 1) * 0x9e3779b97f4a7c15ULL * (seed + 1);
  return static_cast<std::uint8_t>(word >> (8 * (offset % 8)));
}

std::vector<char> patterned(std::size_t size, unsigned seed, std::uint64_t offset) {
  std::vector<char> content(size);
  for (std::size_t index = 0; index < size; ++index)
    content[index] = static_cast<char>(pattern(offset + index, seed));
  return content;
}

char* map_shared(int fd, std::uint64_t size, std::uint64_t offset) {
  void* place =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(offset));
  REQUIRE(place != MAP_FAILED);
  return static_cast<char*>(place);
}

}  // namespace mapsrv
