// SPDX-License-Identifier: Apache-2.0
//
// Method (e): maps and backing objects that the kernel has to refuse.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include "mapsrv/bus_error.h"
#include "mapsrv/check.h"
#include "mapsrv/groups.h"
#include "mapsrv/rawio.h"

namespace mapsrv {
namespace {

constexpr std::uint64_t kHuge = 2 * kMebi;
constexpr std::uint64_t kFar = 1ULL << 45;
constexpr std::uint64_t kId = 500;  // of the map that is tried

abi::BackingExtent good_extent() {
  abi::BackingExtent extent{};
  extent.length = kHuge;
  extent.backing_id = Session::device_backing(0);
  extent.addr = 512 * kMebi;
  return extent;
}

abi::BackingExtent extent_at(std::uint64_t address) {
  abi::BackingExtent extent = good_extent();
  extent.addr = address;
  return extent;
}

// A map whose number of extents is not what follows.
int send_miscounted(const Server& server, std::uint32_t count) {
  const abi::BackingMap head{kId, count, abi::kMapCreate, {0, 0}};
  return server.notify(abi::kNotifyBackingMap, bytes_of(head), bytes_of(good_extent()));
}

struct Reserved {
  std::uint32_t padding = 0;
  std::uint64_t spare = 0;
};

int create(const Server& server, const std::string& path, int flags, std::uint64_t id,
           const Reserved& reserved = {}) {
  abi::BackingCreateIn in{};
  in.fd = open(path.c_str(), flags | O_CLOEXEC, 0600);
  REQUIRE(in.fd >= 0);
  in.backing_id = id;
  in.padding = reserved.padding;
  in.spare[0] = reserved.spare;
  const int result = ioctl(server.fuse(), abi::kIoctlBackingCreate, &in);
  const int error = errno;
  close(in.fd);
  errno = error;
  return result;
}

}  // namespace

void check_wrong_backing_maps(Session& session) {
  constexpr std::uint32_t kCreate = abi::kMapCreate;
  const Server& server = session.server;
  auto expect = [&](const std::string& what, int error,
                    const std::function<void(abi::BackingExtent&)>& spoil) {
    abi::BackingExtent extent = good_extent();
    spoil(extent);
    const int got = session.send_map(kId, kCreate, {extent});
    EXPECT(got == error,
           what + ": gave " + std::strerror(got) + ", wanted " + std::strerror(error));
  };
  say("one extent");
  expect("length 0", EINVAL, [](auto& extent) { extent.length = 0; });
  expect("length misaligned", EINVAL, [](auto& extent) { extent.length += 512; });
  expect("address misaligned", EINVAL, [](auto& extent) { extent.addr += 512; });
  expect("offset misaligned", EINVAL, [](auto& extent) { extent.offset = 512; });
  expect("a gap before it", EINVAL, [](auto& extent) { extent.offset = 4096; });
  expect("outside the device", EINVAL, [](auto& extent) { extent.addr = kFar; });
  expect("longer than the device", EINVAL, [](auto& extent) { extent.length = kFar; });
  expect("address overflows", EINVAL, [](auto& extent) { extent.addr = 0 - kMebi; });
  expect("length overflows", EINVAL, [](auto& extent) { extent.length = 0 - kMebi; });
  expect("unknown device", ENOENT, [](auto& extent) { extent.backing_id = 77; });
  expect("device 0", EINVAL, [](auto& extent) { extent.backing_id = 0; });
  expect("reserved field", EINVAL, [](auto& extent) { extent.reserved[1] = 1; });

  say("several extents");
  abi::BackingExtent second = good_extent();
  EXPECT(session.send_map(kId, kCreate, {good_extent(), second}) == EINVAL, "the same twice");
  second.offset = 2 * kHuge;
  EXPECT(session.send_map(kId, kCreate, {good_extent(), second}) == EINVAL, "a gap");
  second.offset = kHuge;
  second.length = kMebi;
  EXPECT(session.send_map(kId, kCreate | abi::kMapCyclic, {good_extent(), second}) == EINVAL,
         "chunks of two sizes");

  say("heads");
  EXPECT(session.send_map(kId, 0, {good_extent()}) == EINVAL);
  EXPECT(session.send_map(kId, kCreate | 4, {good_extent()}) == EINVAL);
  EXPECT(session.send_map(0, kCreate, {good_extent()}) == EINVAL);
  EXPECT(session.send_map(kId, kCreate, {}) == EINVAL);
  EXPECT(send_miscounted(server, 100000) == E2BIG);
  EXPECT(send_miscounted(server, 3) == EINVAL);
  const abi::BackingMap head{kId, 1, kCreate, {0, 1}};
  EXPECT(server.notify(abi::kNotifyBackingMap, bytes_of(head), bytes_of(good_extent())) == EINVAL,
         "reserved field");
  EXPECT(server.notify(abi::kNotifyBackingMap, bytes_of(head).first(sizeof(head) - 8)) == EINVAL,
         "half a head");

  say("ids");
  EXPECT(session.send_map(kId, kCreate, {good_extent()}) == 0);
  EXPECT(session.send_map(kId, kCreate, {good_extent()}) == EEXIST);
  abi::BackingExtent nested = good_extent();
  nested.backing_id = kId;
  EXPECT(session.send_map(kId + 1, kCreate, {nested}) == EINVAL, "a map of a map");
}

void check_backing_use(Session& session) {
  File& neighbour = session.server.add("neighbour");
  session.map(neighbour, 64 * kMebi, {0, 64 * kMebi, 64 * kMebi});
  File& file = session.server.add("wrong", kHuge);
  EXPECT(session.send_map(kId, abi::kMapCreate, {good_extent()}) == 0);
  file.backing = kId - 1;
  session.expect_open(file, ESTALE, "unknown backing");
  file.backing = kId;
  session.expect_open(file, 0, "good");
  file.size = kHuge + 1;
  session.expect_open(file, EINVAL, "map shorter than the file");
  file.size = kHuge;

  int fd = Session::open(neighbour, O_RDONLY);
  REQUIRE(fd >= 0);
  EXPECT(session.send_map(kId + 2, abi::kMapCreate, {extent_at(127 * kMebi)}) == 0);
  file.backing = kId + 2;
  session.expect_open(file, EINVAL, "overlap with another file");
  close(fd);

  say("another backing while the file is open");
  file.backing = kId;
  fd = Session::open(file, O_RDONLY);
  REQUIRE(fd >= 0);
  EXPECT(session.send_map(kId + 3, abi::kMapCreate, {extent_at(600 * kMebi)}) == 0);
  file.backing = kId + 3;
  EXPECT_ERROR(Session::open(file, O_RDONLY), EBUSY);
  close(fd);
  usleep(100000);  // RELEASE is sent in the background
  session.expect_open(file, 0, "another backing after the last close");

  say("a file with cached pages gets a map, and loses it");
  char byte = 0;
  File& served = session.server.add("served", kHuge);
  fd = Session::open(served, O_RDONLY);
  REQUIRE(fd >= 0);
  EXPECT(pread(fd, &byte, 1, 0) == 1 && byte == kServed);
  served.backing = kId;
  EXPECT_ERROR(Session::open(served, O_RDONLY), EBUSY);
  close(fd);
  fd = Session::open(served, O_RDWR);
  REQUIRE(fd >= 0);
  char* place = map_shared(fd, kHuge);
  EXPECT(during([](void* mapped) { *static_cast<volatile char*>(mapped) = 'm'; }, place) == 0);
  EXPECT(pread(fd, &byte, 1, 0) == 1 && byte == 'm');
  munmap(place, kHuge);
  close(fd);
  usleep(100000);
  served.backing = 0;
  fd = Session::open(served, O_RDONLY);
  EXPECT(fd >= 0 && pread(fd, &byte, 1, 0) == 1 && byte == kServed);
  close(fd);
}

void check_backing_ids(Session& session) {
  const Server& server = session.server;
  const std::string& device = server.devices().front();
  EXPECT_ERROR(create(server, device, O_RDWR, Session::device_backing(0)), EEXIST);
  EXPECT_ERROR(create(server, device, O_RDWR, 0), EINVAL);
  EXPECT_ERROR(create(server, "/dev/null", O_RDWR, 600), ENODEV);
  EXPECT_ERROR(create(server, device, O_RDONLY, 602), EACCES);
  EXPECT_ERROR(create(server, device, O_RDWR, 602, {.padding = 1}), EINVAL);
  EXPECT_ERROR(create(server, device, O_RDWR, 602, {.spare = 1}), EINVAL);
  {
    const WithoutRawIo dropped;
    EXPECT_ERROR(create(server, device, O_RDWR, 602), EPERM);
  }
  abi::BackingCreateIn closed{};
  closed.fd = -1;
  closed.backing_id = 602;
  EXPECT_ERROR(ioctl(server.fuse(), abi::kIoctlBackingCreate, &closed), EBADF);

  say("the other method");
  abi::DaxdevRegisterIn other{};
  other.fd = open(device.c_str(), O_RDWR | O_CLOEXEC);
  EXPECT_ERROR(ioctl(server.fuse(), abi::kIoctlDaxdevRegister, &other), EOPNOTSUPP);
  close(other.fd);

  say("removal");
  File& file = session.server.add("removed", kHuge);
  file.backing = kId;
  EXPECT(session.send_map(kId, abi::kMapCreate, {good_extent()}) == 0);
  const abi::BackingRemove remove{kId, 0};
  const abi::BackingRemove reserved{kId, 1};
  EXPECT(server.notify(abi::kNotifyBackingRemove, bytes_of(reserved)) == EINVAL);
  EXPECT(server.notify(abi::kNotifyBackingRemove, bytes_of(remove).first(8)) == EINVAL);
  EXPECT(server.notify(abi::kNotifyBackingRemove, bytes_of(remove), bytes_of(kId)) == EINVAL);
  EXPECT(server.notify(abi::kNotifyBackingRemove, bytes_of(remove)) == 0);
  EXPECT(server.notify(abi::kNotifyBackingRemove, bytes_of(remove)) == ENOENT);
  session.expect_open(file, ESTALE, "removed backing");

  say("answers to OPEN");
  EXPECT(session.send_map(kId, abi::kMapCreate, {good_extent()}) == 0);
  std::size_t& open_size = session.server.misbehaviour.open_size;
  open_size = 20;
  session.expect_open(file, EIO, "20 bytes");
  open_size = abi::kOpenOutShort;
  session.expect_open(file, ESTALE, "without the id");
  open_size = sizeof(abi::OpenOut);
  session.expect_open(file, 0, "the id once more");

  say("a regular file behind a file, as without maps");
  const char* const path = "/tmp/mapsrv-backing";
  constexpr char kText[] = "passthrough";
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  REQUIRE(fd >= 0);
  EXPECT(write(fd, kText, sizeof(kText)) == sizeof(kText));
  EXPECT(create(server, path, O_RDWR, 601) == 0);
  fuse_backing_map old{};
  old.fd = fd;
  EXPECT_ERROR(ioctl(server.fuse(), FUSE_DEV_IOC_BACKING_OPEN, &old), EINVAL);
  const std::uint32_t old_id = 1;
  EXPECT_ERROR(ioctl(server.fuse(), FUSE_DEV_IOC_BACKING_CLOSE, &old_id), EINVAL);
  close(fd);
  File& passed = session.server.add("passed", sizeof(kText));
  passed.backing = 601;
  fd = Session::open(passed, O_RDONLY);
  REQUIRE(fd >= 0);
  char back[sizeof(kText)] = {};
  EXPECT(read(fd, back, sizeof(back)) == sizeof(back) && std::strcmp(back, kText) == 0);
  close(fd);
  unlink(path);
}

}  // namespace mapsrv
