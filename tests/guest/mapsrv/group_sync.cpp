// SPDX-License-Identifier: Apache-2.0
//
// fsync, msync, close and the end of a map write back what was stored, and nothing twice.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <functional>

#include "mapsrv/bus_error.h"
#include "mapsrv/check.h"
#include "mapsrv/groups.h"
#include "mapsrv/kernel_files.h"

namespace mapsrv {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kHuge = 2 * kMebi;
constexpr std::uint64_t kSize = 8 * kMebi;

// Bytes that the kernel has written back during `work`.
std::uint64_t flushed_by(const std::function<void()>& work) {
  const long before = counter("flushed");
  work();
  return static_cast<std::uint64_t>(counter("flushed") - before);
}

int open_writable(const File& file) {
  const int fd = Session::open(file, O_RDWR);
  REQUIRE(fd >= 0);
  return fd;
}

void check_large_pages(Session& session) {
  File& file = session.server.add("synced");
  session.map(file, kSize, {0, 600 * kMebi, kSize});
  const int fd = open_writable(file);
  char* place = map_shared(fd, kSize);
  const auto synced = [fd] { EXPECT(fsync(fd) == 0); };

  place[0] = place[4 * kMebi] = 1;
  EXPECT(flushed_by(synced) == 2 * kHuge);
  EXPECT(flushed_by(synced) == 0, "nothing was stored since the last time");
  EXPECT(place[0] == 1 && place[4 * kMebi] == 1);
  EXPECT(touch_read(place + 6 * kMebi) == 0);
  EXPECT(flushed_by(synced) == 0, "nothing was stored, only loaded");
  place[1] = 2;
  EXPECT(flushed_by(synced) == kHuge, "stored again");

  say("msync of a part, close of another descriptor, the map goes");
  place[0] = place[4 * kMebi] = 3;
  EXPECT(flushed_by([place] { EXPECT(msync(place + 4 * kMebi, kPage, MS_SYNC) == 0); }) == kHuge);
  EXPECT(flushed_by([&file] { close(open_writable(file)); }) == kHuge);
  EXPECT(flushed_by(synced) == 0);
  place[0] = 4;
  EXPECT(flushed_by([&] { EXPECT(session.withdraw(file) == 0); }) == kHuge);
  munmap(place, kSize);
  close(fd);
}

void check_small_pages(Session& session) {
  File& file = session.server.add("small");
  session.map(file, kMebi, {0, 610 * kMebi, kMebi});
  const int fd = open_writable(file);
  char* place = map_shared(fd, kMebi);
  const auto synced = [fd] { EXPECT(fsync(fd) == 0); };
  EXPECT(touch_read(place) == 0);
  place[0] = 1;  // the page is there, and becomes writable
  place[5 * kPage] = 1;
  EXPECT(flushed_by(synced) == 2 * kPage);
  EXPECT(flushed_by(synced) == 0);
  place[0] = 2;
  EXPECT(flushed_by([place] { EXPECT(msync(place, kMebi, MS_SYNC) == 0); }) == kPage);
  place[0] = 3;
  munmap(place, kMebi);
  EXPECT(flushed_by([fd] { close(fd); }) == kPage, "what is not mapped any more");
}

// Strips on each of the devices.
void check_strips(Session& session) {
  File& file = session.server.add("strips");
  session.map_strips(
      file, kSize, kHuge,
      {{0, 620 * kMebi, 4 * kMebi}, {session.last_device(), 630 * kMebi, 4 * kMebi}});
  const int fd = open_writable(file);
  char* place = map_shared(fd, kSize);
  for (std::uint64_t offset = 0; offset < kSize; offset += kHuge) place[offset] = 1;
  EXPECT(flushed_by([fd] { EXPECT(fsync(fd) == 0); }) == kSize);
  munmap(place, kSize);
  close(fd);
}

}  // namespace

void check_sync(Session& session) {
  REQUIRE(counter("flushed") >= 0);
  check_large_pages(session);
  check_small_pages(session);
  check_strips(session);
}

}  // namespace mapsrv
