// SPDX-License-Identifier: Apache-2.0
//
// Memory that fails and devices that go away under mapped files.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "mapsrv/bus_error.h"
#include "mapsrv/check.h"
#include "mapsrv/groups.h"
#include "mapsrv/kernel_files.h"

namespace mapsrv {
namespace {

constexpr std::uint64_t kPage = 4096;
const char* const kDevices = "/sys/kernel/debug/fuse_dax/devices";

// A process that uses only sound pages around the failed one, and lives as long as it is let.
pid_t start_neighbour(char* before, char* behind, char* far) {
  const pid_t child = fork();
  if (child != 0) return child;
  for (int round = 0; round < 30; ++round) {
    if (touch_read(far) != 0 || touch_read(behind) != 0 || touch_write(before) != 0) _exit(1);
    usleep(20000);
  }
  _exit(0);
}

void check_lost_page(const char* file_start, char* lost, int fd, off_t offset) {
  char buffer[2 * kPage];
  EXPECT(touch_read(lost + 100) == BUS_MCEERR_AR);
  const auto* reported = static_cast<const char*>(last_bus_error().si_addr);
  EXPECT(reported >= lost && reported < lost + kPage);
  EXPECT(touch_write(lost) == BUS_MCEERR_AR);
  EXPECT_ERROR(pread(fd, buffer, 100, offset + 7), EIO);
  EXPECT_ERROR(pwrite(fd, buffer, 100, offset + 7), EIO);
  say("the pages around it");
  EXPECT(touch_write(lost - kPage) == 0 && touch_write(lost + kPage) == 0);
  EXPECT(touch_write(const_cast<char*>(file_start)) == 0);
  EXPECT(pread(fd, buffer, 2 * kPage, offset - static_cast<off_t>(kPage)) ==
         static_cast<ssize_t>(kPage));
  EXPECT(pread(fd, buffer, kPage, offset + static_cast<off_t>(kPage)) ==
         static_cast<ssize_t>(kPage));
  EXPECT(buffer[5] == 1);
}

// mm unmaps failed pages itself where it finds a process to signal: here it finds none.
bool offlined_elsewhere(unsigned long long physical, char* mapping, std::size_t size) {
  const pid_t child = fork();
  if (child == 0) {
    munmap(mapping, size);
    _exit(hard_offline(physical));
  }
  int status = 0;
  return waitpid(child, &status, 0) == child && status == 0;
}

// Page failures stay until the device is bound anew; the next group wants a sound one.
void renew_device(const std::string& device) {
  EXPECT(unbind_device(device) == 0);
  EXPECT(bind_device(device) == 0);
  EXPECT(!file_contains(kDevices, "failed"));
}

}  // namespace

void check_failure(Session& session) {
  constexpr std::uint64_t kSize = 8 * kMebi;
  constexpr std::uint64_t kStart = 400 * kMebi;
  constexpr std::uint64_t kLost = 2 * kMebi + 5 * kPage;  // inside a large page
  File& sound = session.server.add("sound");
  session.map(sound, kMebi * 64, {0, 64 * kMebi, 64 * kMebi});
  File& file = session.server.add("poisoned");
  session.map(file, kSize, {0, kStart, kSize});
  int fd = Session::open(file, O_RDWR);
  REQUIRE(fd >= 0);
  char* place = map_shared(fd, kSize);
  std::memset(place, 1, kSize);
  const unsigned long long physical = physical_address(place + kLost);
  REQUIRE(physical != 0);

  const pid_t neighbour =
      start_neighbour(place + kLost - kPage, place + kLost + kPage, place + 4 * kMebi);
  const long failures = counter("failures");
  const int code = signalled_by([physical] { EXPECT(hard_offline(physical) == 0); });
  say("the error itself gave the signal code " + std::to_string(code));
  EXPECT(counter("failures") == failures + 1);
  check_lost_page(place, place + kLost, fd, static_cast<off_t>(kLost));
  int status = 0;
  waitpid(neighbour, &status, 0);
  EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0, "another process was hit");
  say("what was stored there cannot be written back, which is said once");
  EXPECT_ERROR(msync(place, kSize, MS_SYNC), EIO);
  EXPECT(msync(place, kSize, MS_SYNC) == 0);
  char line[64];
  std::snprintf(line, sizeof(line), "failed %#llx-%#llx",
                static_cast<unsigned long long>(kStart + kLost),
                static_cast<unsigned long long>(kStart + kLost + kPage - 1));
  EXPECT(file_contains(kDevices, line), line);
  munmap(place, kSize);
  close(fd);
  char buffer[kPage];
  fd = Session::open(sound, O_RDONLY);
  EXPECT(fd >= 0 && pread(fd, buffer, kPage, 0) == static_cast<ssize_t>(kPage));
  close(fd);

  say("free memory, and a file that is not mapped");
  const unsigned long long base = physical - (kStart + kLost);
  EXPECT(hard_offline(base + 420 * kMebi) == 0);
  File& later = session.server.add("later");
  session.map(later, 4 * kMebi, {0, 420 * kMebi, 4 * kMebi});
  fd = Session::open(later, O_RDWR);
  REQUIRE(fd >= 0);
  EXPECT_ERROR(pread(fd, buffer, kPage, 0), EIO);
  EXPECT(pread(fd, buffer, kPage, kPage) == static_cast<ssize_t>(kPage));
  EXPECT(hard_offline(base + 421 * kMebi) == 0);
  EXPECT_ERROR(pread(fd, buffer, kPage, kMebi), EIO);
  place = map_shared(fd, 4 * kMebi);
  EXPECT(touch_read(place + kMebi) == BUS_MCEERR_AR && touch_write(place + kMebi + kPage) == 0);

  say("madvise");
  char* victim = place + 3 * kMebi;
  signalled_by([victim] { EXPECT(madvise(victim, kPage, MADV_HWPOISON) == 0); });
  EXPECT(touch_read(victim) == BUS_MCEERR_AR && touch_write(victim + kPage) == 0);

  say("an error found by somebody who does not use the file");
  char* other = place + 16 * kPage;
  EXPECT(touch_read(other) == 0);  // a store would be written back, and unmapped for that
  EXPECT(offlined_elsewhere(base + 420 * kMebi + 16 * kPage, place, 4 * kMebi));
  EXPECT(touch_read(other) == BUS_MCEERR_AR && touch_write(other + kPage) == 0);
  munmap(place, 4 * kMebi);
  close(fd);
  renew_device(session.server.devices().front());
}

void check_unbind(Session& session) {
  constexpr std::uint64_t kSize = 8 * kMebi;
  const std::string& device = session.server.devices().front();
  File& file = session.server.add("unbound");
  session.map(file, kSize, {0, 440 * kMebi, kSize});
  int fd = Session::open(file, O_RDWR);
  REQUIRE(fd >= 0);
  int ready[2];
  REQUIRE(pipe2(ready, O_CLOEXEC) == 0);
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGBUS, SIG_DFL);
    std::memset(map_shared(fd, kSize), 1, kSize);
    if (write(ready[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char buffer[8] = {};
  REQUIRE(read(ready[0], buffer, 1) == 1);
  char* place = map_shared(fd, kSize);
  std::memset(place + 2 * kMebi, 2, kPage);
  const int code = signalled_by([&device] { EXPECT(unbind_device(device) == 0); });
  say("this process got the signal code " + std::to_string(code));
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS,
         "status " + std::to_string(status) + " of a process with the memory mapped");
  EXPECT(touch_write(place + 2 * kMebi) == BUS_ADRERR);
  EXPECT(touch_read(place) == BUS_ADRERR);
  EXPECT(pread(fd, buffer, 4, 0) == -1);
  EXPECT(Session::open(file, O_RDWR) == -1);
  munmap(place, kSize);
  close(fd);

  say("the device is back");
  EXPECT(bind_device(device) == 0);
  EXPECT(!file_contains(kDevices, "failed"));
  if (session.method == Method::kFmap) {  // (e) needs a new backing object
    fd = Session::open(file, O_RDWR);
    EXPECT(fd >= 0 && pread(fd, buffer, 4, 0) == 4);
    close(fd);
  }
}

}  // namespace mapsrv
