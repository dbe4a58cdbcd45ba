// SPDX-License-Identifier: Apache-2.0
//
// A file in strips against a model of it, and many files at once.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "mapsrv/check.h"
#include "mapsrv/groups.h"
#include "mapsrv/kernel_files.h"

namespace mapsrv {
namespace {

constexpr std::uint64_t kChunk = 2 * kMebi;
constexpr std::uint64_t kSize = 61 * kMebi + 77;  // ends inside a chunk
constexpr std::uint64_t kStrip = 16 * kMebi;
constexpr std::size_t kLongest = 20000;
constexpr int kSteps = 2000;

// Random reads and writes, by system call and by mapping, many of them across a border of chunks.
// Returns how many went wrong.
int compare(int fd, char* place, std::vector<char>& model) {
  std::minstd_rand random(1);
  auto below = [&random](std::uint64_t limit) { return random() % limit; };
  int wrong = 0;
  std::vector<char> buffer(kLongest);
  for (int step = 0; step < kSteps; ++step) {
    std::uint64_t at = below(kSize);
    if (step % 2 == 0) at = std::max<std::uint64_t>(at / kChunk * kChunk, 100) - below(100);
    const std::uint64_t length = std::min(below(kLongest), kSize - at);
    if (step % 3 == 0) {
      for (std::uint64_t index = 0; index < length; ++index)
        buffer[index] = model[at + index] = static_cast<char>(random());
      if (below(2) == 0) {
        if (pwrite(fd, buffer.data(), length, static_cast<off_t>(at)) !=
            static_cast<ssize_t>(length))
          ++wrong;
      } else {
        std::memcpy(place + at, buffer.data(), length);
      }
    } else if (step % 3 == 1) {
      const ssize_t got = pread(fd, buffer.data(), length, static_cast<off_t>(at));
      if (got != static_cast<ssize_t>(length) ||
          std::memcmp(buffer.data(), model.data() + at, length) != 0)
        ++wrong;
    } else if (std::memcmp(place + at, model.data() + at, length) != 0) {
      ++wrong;
    }
  }
  return wrong;
}

}  // namespace

void check_interleave(Session& session) {
  const unsigned second = session.last_device();
  const std::vector<Range> strips = {{0, 256 * kMebi, kStrip},
                                     {second, 288 * kMebi, kStrip},
                                     {0, 320 * kMebi, kStrip},
                                     {second, 352 * kMebi, kStrip}};
  say("four strips on " + std::to_string(session.device_count()) + " devices");
  File& file = session.server.add("interleaved");
  session.map_strips(file, kSize, kChunk, strips);
  int fd = Session::open(file, O_RDWR);
  REQUIRE(fd >= 0);
  std::vector<char> model = patterned(kSize, 3);
  EXPECT(pwrite(fd, model.data(), kSize, 0) == static_cast<ssize_t>(kSize));
  char* place = map_shared(fd, kSize);
  EXPECT(std::memcmp(place, model.data(), kSize) == 0);
  const int wrong = compare(fd, place, model);
  EXPECT(wrong == 0, std::to_string(wrong) + " accesses went wrong");
  munmap(place, kSize);
  close(fd);

  say("the same memory strip by strip");
  EXPECT(session.withdraw(file) == 0);
  int different = 0;
  for (std::size_t strip = 0; strip < strips.size(); ++strip) {
    File& raw = session.server.add("strip" + std::to_string(strip));
    session.map(raw, kStrip, strips[strip]);
    fd = Session::open(raw, O_RDWR);
    REQUIRE(fd >= 0);
    place = map_shared(fd, kStrip);
    for (std::uint64_t chunk = strip; chunk * kChunk < kSize; chunk += strips.size()) {
      const std::uint64_t length = std::min(kChunk, kSize - chunk * kChunk);
      if (std::memcmp(place + chunk / strips.size() * kChunk, model.data() + chunk * kChunk,
                      length) != 0)
        ++different;
    }
    munmap(place, kStrip);
    close(fd);
    EXPECT(session.withdraw(raw) == 0);
  }
  EXPECT(different == 0, std::to_string(different) + " chunks are elsewhere");
}

void check_many(Session& session) {
  constexpr int kFiles = 16;
  std::vector<File*> files;
  for (unsigned number = 0; number < kFiles; ++number) {
    File& file = session.server.add("many" + std::to_string(number));
    session.map(file, 2 * kMebi, {session.last_device(), (700 + 2 * number) * kMebi, 2 * kMebi});
    files.push_back(&file);
  }
  for (char round = 1; round <= 3; ++round) {
    std::vector<int> open;
    for (const File* file : files) {
      const int fd = Session::open(*file, O_RDWR);
      REQUIRE(fd >= 0);
      char* place = map_shared(fd, 2 * kMebi);
      EXPECT(round == 1 || place[0] == round - 1);
      place[0] = round;
      munmap(place, 2 * kMebi);
      open.push_back(fd);
    }
    for (const int fd : open) close(fd);
    EXPECT(write_file("/proc/sys/vm/drop_caches", "3") == 0);
  }
}

}  // namespace mapsrv
