// SPDX-License-Identifier: Apache-2.0
//
// The server takes a map back: nobody sees the old memory any more.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "mapsrv/bus_error.h"
#include "mapsrv/check.h"
#include "mapsrv/groups.h"

namespace mapsrv {
namespace {

void look_up(const File& file) {
  struct stat status{};
  EXPECT(stat(Session::path(file).c_str(), &status) == 0);
}

}  // namespace

void check_withdraw(Session& session) {
  constexpr std::uint64_t kSize = 4 * kMebi;
  File& file = session.server.add("remade");
  session.map(file, kSize, {0, 200 * kMebi, kSize});
  const int fd = Session::open(file, O_RDWR);
  REQUIRE(fd >= 0);
  char* place = map_shared(fd, kSize);
  std::strcpy(place, "old");
  std::strcpy(place + 3 * kMebi, "old");
  EXPECT(session.withdraw(file) == 0);
  char buffer[8] = {};
  EXPECT(touch_read(place) == BUS_ADRERR, "code " + std::to_string(last_bus_error().si_code));
  EXPECT(touch_read(place + 3 * kMebi) == BUS_ADRERR);
  EXPECT_ERROR(pread(fd, buffer, 4, 0), ESTALE);
  EXPECT_ERROR(pwrite(fd, buffer, 4, 0), ESTALE);
  const void* refused = mmap(nullptr, kMebi, PROT_READ, MAP_SHARED, fd, 0);
  EXPECT(refused == MAP_FAILED && errno == ESTALE);

  say("a new map with the next open");
  session.map(file, 2 * kMebi, {0, 208 * kMebi, 2 * kMebi});
  look_up(file);
  const int again = Session::open(file, O_RDWR);
  REQUIRE(again >= 0);
  EXPECT(pwrite(again, "new", 4, 0) == 4);
  EXPECT(during([](void* argument) { (void)std::strlen(static_cast<char*>(argument)); }, place) ==
         0);
  EXPECT(std::strcmp(place, "new") == 0);
  struct stat status{};
  EXPECT(fstat(again, &status) == 0 && status.st_size == static_cast<off_t>(2 * kMebi));
  munmap(place, kSize);
  close(again);
  close(fd);
}

void check_changed_size(Session& session) {
  constexpr std::uint64_t kSize = 2 * kMebi;
  File& file = session.server.add("resized");
  session.map(file, kSize, {0, 208 * kMebi, kSize});
  const int fd = Session::open(file, O_RDWR);
  REQUIRE(fd >= 0);
  char buffer[8] = {};
  EXPECT(pread(fd, buffer, 4, 0) == 4);
  file.size = kMebi;
  usleep(1100000);  // what the kernel knows of the file is good for a second
  look_up(file);
  EXPECT_ERROR(pread(fd, buffer, 4, 0), ESTALE);
  close(fd);
  EXPECT(session.withdraw(file) == 0);
}

}  // namespace mapsrv
