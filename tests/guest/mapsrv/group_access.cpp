// SPDX-License-Identifier: Apache-2.0
//
// open, read, write, mmap of one contiguous file, and where it ends.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "mapsrv/check.h"
#include "mapsrv/groups.h"
#include "mapsrv/kernel_files.h"

namespace mapsrv {
namespace {

constexpr std::uint64_t kSize = 64 * kMebi;
constexpr std::uint64_t kOdd = 3 * kMebi + 123;  // a place on no border of anything
constexpr std::size_t kAmount = 8 * kMebi;

File& simple_file(Session& session) {
  File& file = session.server.add("simple");
  session.map(file, kSize, {0, 64 * kMebi, kSize});
  return file;
}

int open_writable(const File& file, int flags = 0) {
  const int fd = Session::open(file, O_RDWR | flags);
  REQUIRE(fd >= 0);
  return fd;
}

// Of each order of fault, what the kernel has counted.
struct Faults {
  long pmd = counter("fault_pmd");
  long pte = counter("fault_pte");
};

}  // namespace

void check_access(Session& session) {
  const Server& server = session.server;
  const File& file = simple_file(session);
  const int fd = open_writable(file);
  const int other = open_writable(file);
  const bool asks = session.method == Method::kFmap;
  EXPECT(server.messages(FUSE_OPEN) == 2);
  EXPECT(server.messages(abi::kGetFmap) == (asks ? 1 : 0));
  EXPECT(server.messages(abi::kGetDaxdev) == (asks ? 1 : 0));

  const std::vector<char> content = patterned(kAmount, 1);
  std::vector<char> back(kAmount);
  const int before = server.messages() - server.messages(FUSE_GETXATTR);
  EXPECT(pwrite(fd, content.data(), kAmount, kOdd) == static_cast<ssize_t>(kAmount));
  EXPECT(pread(other, back.data(), kAmount, kOdd) == static_cast<ssize_t>(kAmount));
  EXPECT(content == back);
  char* place = map_shared(fd, kSize);
  EXPECT(std::memcmp(place + kOdd, content.data(), kAmount) == 0);
  std::memset(place + 20 * kMebi, 0x5a, kMebi);
  EXPECT(pread(fd, back.data(), kMebi, 20 * kMebi) == static_cast<ssize_t>(kMebi));
  EXPECT(back[0] == 0x5a && back[kMebi - 1] == 0x5a);
  // A first write asks once for the attribute that a write takes away (security.capability).
  EXPECT(server.messages() - server.messages(FUSE_GETXATTR) == before,
         "the server had messages for reads, writes or faults");
  munmap(place, kSize);
  close(other);
  close(fd);
}

void check_pmd(Session& session) {
  constexpr std::uint64_t kHuge = 2 * kMebi;
  const int fd = open_writable(simple_file(session));
  REQUIRE(counter("fault_pmd") >= 0);

  const Faults before;
  char* place = map_shared(fd, kSize);
  for (std::uint64_t offset = 0; offset < kSize; offset += 4096) place[offset] = 1;
  const Faults huge;
  EXPECT(huge.pmd - before.pmd == static_cast<long>(kSize / kHuge),
         std::to_string(huge.pmd - before.pmd) + " faults of 2 MiB");
  EXPECT(huge.pte == before.pte, std::to_string(huge.pte - before.pte) + " faults of 4 KiB");
  munmap(place, kSize);

  say("a mapping one page off cannot have large pages");
  void* space = mmap(nullptr, 3 * kHuge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(space != MAP_FAILED);
  const auto start = (reinterpret_cast<std::uintptr_t>(space) + kHuge - 1) / kHuge * kHuge + 4096;
  place = static_cast<char*>(mmap(reinterpret_cast<void*>(start), kHuge, PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_FIXED, fd, 0));
  REQUIRE(place != MAP_FAILED);
  for (std::uint64_t offset = 0; offset < kHuge; offset += 4096) place[offset] = 1;
  const Faults small;
  EXPECT(small.pmd == huge.pmd && small.pte - huge.pte == static_cast<long>(kHuge / 4096));
  munmap(space, 3 * kHuge);
  close(fd);
}

void check_copy_to_itself(Session& session) {
  const File& file = simple_file(session);
  const int fd = open_writable(file);
  const int other = open_writable(file);
  const std::vector<char> content = patterned(4 * kMebi, 1);
  constexpr auto kPart = static_cast<ssize_t>(4 * kMebi);
  EXPECT(pwrite(fd, content.data(), kPart, kOdd) == kPart);
  // Of this mapping no page is there yet: the copy has to take faults of the file it reads.
  char* place = map_shared(fd, kSize);
  EXPECT(pread(other, place + 40 * kMebi, kPart, kOdd) == kPart);
  EXPECT(pwrite(other, place + 40 * kMebi, kPart, 50 * kMebi + 1) == kPart);
  EXPECT(std::memcmp(place + 40 * kMebi, content.data(), kPart) == 0);
  EXPECT(std::memcmp(place + 50 * kMebi + 1, content.data(), kPart) == 0);
  void* nowhere = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_ERROR(pread(fd, nowhere, 4096, 0), EFAULT);
  munmap(nowhere, 4096);
  munmap(place, kSize);
  close(other);
  close(fd);
}

void check_ends(Session& session) {
  const File& file = simple_file(session);
  const int fd = open_writable(file);
  std::vector<char> buffer(4096);
  char* place = map_shared(fd, kSize);
  EXPECT_ERROR(pwrite(fd, buffer.data(), 1, kSize), ENOSPC);
  EXPECT(pwrite(fd, buffer.data(), 4096, kSize - 100) == 100);
  EXPECT(pread(fd, buffer.data(), 4096, kSize - 100) == 100);
  EXPECT(pread(fd, buffer.data(), 4096, kSize) == 0);
  const int appending = open_writable(file, O_APPEND);
  EXPECT_ERROR(write(appending, buffer.data(), 1), ENOSPC);
  close(appending);
  EXPECT_ERROR(ftruncate(fd, 1), EPERM);
  EXPECT_ERROR(ftruncate(fd, 2 * kSize), EPERM);
  EXPECT_ERROR(Session::open(file, O_RDWR | O_TRUNC), EPERM);
  EXPECT_ERROR(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), EOPNOTSUPP);
  struct stat status{};
  EXPECT(fstat(fd, &status) == 0 && status.st_size == static_cast<off_t>(kSize));
  EXPECT(fsync(fd) == 0 && msync(place, kSize, MS_SYNC) == 0);
  EXPECT(pread(fd, buffer.data(), 4096, 2 * kSize) == 0);
  munmap(place, kSize);
  close(fd);

  say("an end within a page");
  File& odd = session.server.add("odd");
  session.map(odd, 10000, {0, 640 * kMebi, 3 * 4096});
  const int uneven = open_writable(odd);
  EXPECT(pwrite(uneven, buffer.data(), 4096, 8000) == 2000);
  EXPECT(pread(uneven, buffer.data(), 4096, 8000) == 2000);
  EXPECT(pread(uneven, buffer.data(), 4096, 10001) == 0);
  close(uneven);
}

}  // namespace mapsrv
