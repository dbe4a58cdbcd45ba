// SPDX-License-Identifier: Apache-2.0
//
// The same file by other ways: O_DIRECT, private mappings, fork, splice, mremap, exec.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "mapsrv/check.h"
#include "mapsrv/groups.h"

namespace mapsrv {
namespace {

constexpr std::uint64_t kSize = 64 * kMebi;
constexpr std::uint64_t kOdd = 3 * kMebi + 123;

// The exit status of a child, or -1 if it was killed.
int status_of(pid_t child) {
  int status = 0;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

// Whether sendfile(2) moves the content of a file to another.
bool can_be_sent(int fd, const std::vector<char>& content) {
  const int target = memfd_create("sent", MFD_CLOEXEC);
  REQUIRE(target >= 0);
  off_t offset = kOdd;
  std::size_t left = content.size();
  while (left > 0) {
    const ssize_t sent = sendfile(target, fd, &offset, left);
    if (sent <= 0) break;
    left -= static_cast<std::size_t>(sent);
  }
  std::vector<char> back(content.size());
  const ssize_t got = pread(target, back.data(), back.size(), 0);
  close(target);
  return left == 0 && got == static_cast<ssize_t>(back.size()) && back == content;
}

}  // namespace

void check_sharing(Session& session) {
  File& file = session.server.add("shared");
  session.map(file, kSize, {0, 64 * kMebi, kSize});
  const int fd = Session::open(file, O_RDWR);
  REQUIRE(fd >= 0);
  const std::vector<char> content = patterned(kMebi, 1);
  constexpr auto kPart = static_cast<ssize_t>(kMebi);
  EXPECT(pwrite(fd, content.data(), kPart, kOdd) == kPart);
  char* place = map_shared(fd, kSize);
  std::memset(place + 20 * kMebi, 0x5a, kMebi);

  const int direct = Session::open(file, O_RDWR | O_DIRECT);
  REQUIRE(direct >= 0);
  std::vector<char> back(kMebi);
  EXPECT(pread(direct, back.data(), kPart, kOdd) == kPart && back == content);
  close(direct);

  auto* own = static_cast<char*>(
      mmap(nullptr, 2 * kMebi, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 20 * kMebi));
  REQUIRE(own != MAP_FAILED);
  own[5] = 1;
  EXPECT(place[20 * kMebi + 5] == 0x5a && own[5] == 1 && own[4096] == 0x5a);
  munmap(own, 2 * kMebi);

  const pid_t child = fork();
  if (child == 0) {
    place[30 * kMebi] = 77;
    _exit(place[20 * kMebi] == 0x5a ? 0 : 1);
  }
  EXPECT(status_of(child) == 0 && place[30 * kMebi] == 77);

  EXPECT(can_be_sent(fd, content));
  loff_t from = kOdd;
  loff_t to = 33 * kMebi;
  EXPECT(copy_file_range(fd, &from, fd, &to, 65536, 0) == 65536);
  EXPECT(std::memcmp(place + 33 * kMebi, content.data(), 65536) == 0);

  EXPECT(madvise(place, kSize, MADV_DONTNEED) == 0 && place[30 * kMebi] == 77);
  auto* moved = static_cast<char*>(mremap(place, kSize, kSize / 2, MREMAP_MAYMOVE));
  REQUIRE(moved != MAP_FAILED);
  EXPECT(moved[30 * kMebi] == 77);
  munmap(moved, kSize / 2);
  close(fd);
}

void check_exec(Session& session) {
  std::ifstream program("/bin/true", std::ios::binary);
  const std::vector<char> content{std::istreambuf_iterator<char>(program), {}};
  REQUIRE(!content.empty());
  File& file = session.server.add("program");
  session.map(file, content.size(), {0, 192 * kMebi, 2 * kMebi});
  const int fd = Session::open(file, O_RDWR);
  REQUIRE(fd >= 0);
  EXPECT(pwrite(fd, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()));
  close(fd);
  const std::string path = Session::path(file);
  const pid_t child = fork();
  if (child == 0) {
    execl(path.c_str(), path.c_str(), nullptr);
    _exit(99);
  }
  EXPECT(status_of(child) == 0);
}

}  // namespace mapsrv
