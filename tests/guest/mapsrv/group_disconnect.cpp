// SPDX-License-Identifier: Apache-2.0
//
// The server goes away under live mappings, and another one comes.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "mapsrv/bus_error.h"
#include "mapsrv/check.h"
#include "mapsrv/groups.h"

namespace mapsrv {

void check_disconnect(Session& session) {
  constexpr std::uint64_t kSize = 4 * kMebi;
  const Range range{session.last_device(), 460 * kMebi, kSize};
  File& file = session.server.add("alive");
  session.map(file, kSize, range);
  const int fd = Session::open(file, O_RDWR);
  REQUIRE(fd >= 0);
  char* place = map_shared(fd, kSize);
  std::strcpy(place, "x");
  EXPECT_ERROR(umount(kMountPoint), EBUSY);
  // Ends the connection although it cannot unmount.
  EXPECT(umount2(kMountPoint, MNT_FORCE) == -1);
  EXPECT(Session::open(file, O_RDONLY) == -1 && (errno == ENOTCONN || errno == ECONNABORTED));
  EXPECT(touch_write(place + 3 * kMebi) == 0 && std::strcmp(place, "x") == 0);
  EXPECT(pread(fd, place + kMebi, 2, 0) == 2);
  EXPECT(umount2(kMountPoint, MNT_DETACH) == 0);
  EXPECT(touch_write(place + 2 * kMebi) == 0);

  say("another mount of the same memory");
  Session second(session.method, session.server.devices());
  File& same = second.server.add("alive");
  second.map(same, kSize, range);
  EXPECT_ERROR(Session::open(same, O_RDWR), EBUSY);
  munmap(place, kSize);
  close(fd);
  usleep(300000);  // the last reference to the old mount goes in the background
  const int again = Session::open(same, O_RDWR);
  REQUIRE(again >= 0);
  place = map_shared(again, kSize);
  EXPECT(std::strcmp(place, "x") == 0);
  munmap(place, kSize);
  close(again);
}

}  // namespace mapsrv
