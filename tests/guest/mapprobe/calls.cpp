// SPDX-License-Identifier: Apache-2.0
#include "calls.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <vector>

namespace probe {
namespace {

void require_size(const File& file) {
  struct stat attributes = {};
  require(fstat(file.fd(), &attributes) == 0 &&
              static_cast<std::uint64_t>(attributes.st_size) == file.size(),
          "the size changed");
}

void require_error(bool failed, int error, const std::string& what) {
  if (!failed) fail(what + " worked");
  if (errno != error) fail_errno(what + " failed otherwise");
}

std::vector<std::uint8_t> bytes(std::uint64_t offset, std::uint64_t length, std::uint64_t seed) {
  std::vector<std::uint8_t> made(length);
  for (std::uint64_t i = 0; i < length; ++i) made[i] = pattern(offset + i, seed);
  return made;
}

void put(const File& file, std::uint64_t offset, const std::vector<std::uint8_t>& data) {
  require(pwrite(file.fd(), data.data(), data.size(), static_cast<off_t>(offset)) ==
              static_cast<ssize_t>(data.size()),
          "write");
}

void require_bytes(int fd, std::uint64_t offset, const std::vector<std::uint8_t>& wanted,
                   const std::string& what) {
  std::vector<std::uint8_t> found(wanted.size());
  require(pread(fd, found.data(), found.size(), static_cast<off_t>(offset)) ==
                  static_cast<ssize_t>(found.size()) &&
              found == wanted,
          what);
}

}  // namespace

// ends FILE: nothing can be written or read behind the end, and the size stays.
void ends(const Arguments& arguments) {
  const File file(arguments.at(0));
  const File appending(arguments.at(0), O_RDWR | O_APPEND);
  std::array<char, 4096> data{};
  const auto end = static_cast<off_t>(file.size());
  require_error(pwrite(file.fd(), data.data(), 1, end) == -1, ENOSPC, "write at the end");
  require_error(pwrite(file.fd(), data.data(), 1, end + 70'000) == -1, ENOSPC, "write far behind");
  require_error(write(appending.fd(), data.data(), 1) == -1, ENOSPC, "O_APPEND");
  require(pwrite(file.fd(), data.data(), data.size(), end - 100) == 100, "write across the end");
  require(pread(file.fd(), data.data(), data.size(), end - 100) == 100, "read across the end");
  require(pread(file.fd(), data.data(), 1, end) == 0, "read at the end");
  require(pread(file.fd(), data.data(), 1, end + 70'000) == 0, "read far behind the end");
  require_size(file);
}

// refused FILE: what would change the size or the place of bytes.
void refused(const Arguments& arguments) {
  const File file(arguments.at(0));
  const auto end = static_cast<off_t>(file.size());
  // The word depends on who says it: the kernel, or the daemon of the master or of a client.
  const auto is_refused = [](bool failed, const std::string& what) {
    if (!failed) fail(what + " worked");
    if (errno != EPERM && errno != EINVAL && errno != EOPNOTSUPP && errno != EROFS) {
      fail_errno(what + " failed otherwise");
    }
  };
  is_refused(ftruncate(file.fd(), end / 2) == -1, "making it smaller");
  is_refused(ftruncate(file.fd(), end * 2) == -1, "making it larger");
  is_refused(open(arguments.at(0).c_str(), O_RDWR | O_TRUNC | O_CLOEXEC) == -1, "O_TRUNC");
  for (const int mode : {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                         FALLOC_FL_ZERO_RANGE, FALLOC_FL_COLLAPSE_RANGE}) {
    is_refused(fallocate(file.fd(), mode, 0, 4096) == -1, "fallocate " + std::to_string(mode));
  }
  require_size(file);
}

// vectors FILE: read(2), write(2) and lseek(2) move along, and pieces of odd lengths join.
void vectors(const Arguments& arguments) {
  const File file(arguments.at(0));
  const std::uint64_t start = kPmd - 1001;  // the pieces lie across a border of strips
  auto data = bytes(start, 20'011, 1);
  std::array<iovec, 4> pieces{iovec{data.data(), 1}, iovec{data.data() + 1, 1002},
                              iovec{data.data() + 1003, 0}, iovec{data.data() + 1003, 19'008}};
  require(lseek(file.fd(), static_cast<off_t>(start), SEEK_SET) == static_cast<off_t>(start) &&
              writev(file.fd(), pieces.data(), pieces.size()) == 20'011 &&
              lseek(file.fd(), 0, SEEK_CUR) == static_cast<off_t>(start + data.size()),
          "writev");
  require_bytes(file.fd(), start, data, "what writev wrote");
  std::vector<std::uint8_t> found(data.size());
  for (iovec& piece : pieces) {
    piece.iov_base = found.data() + (static_cast<std::uint8_t*>(piece.iov_base) - data.data());
  }
  require(preadv(file.fd(), pieces.data(), pieces.size(), static_cast<off_t>(start)) == 20'011 &&
              found == data,
          "preadv");
  const auto end = static_cast<off_t>(file.size());
  require(lseek(file.fd(), 0, SEEK_END) == end && read(file.fd(), found.data(), 1) == 0, "the end");
  require(lseek(file.fd(), 0, SEEK_DATA) == 0 && lseek(file.fd(), 0, SEEK_HOLE) == end,
          "a hole in a file that has none");
  require(fsync(file.fd()) == 0 && fdatasync(file.fd()) == 0, "fsync");
}

// copies FILE: bytes move to and from other files within the kernel.
void copies(const Arguments& arguments) {
  constexpr std::uint64_t kLength = 50'001;
  const File file(arguments.at(0));
  const std::uint64_t start = kPmd - 777;
  const auto data = bytes(start, kLength, 2);
  put(file, start, data);
  const int other = memfd_create("copies", MFD_CLOEXEC);
  auto from = static_cast<off_t>(start);
  require(sendfile(other, file.fd(), &from, kLength) == kLength, "sendfile");
  require_bytes(other, 0, data, "what sendfile sent");
  // Within the file, to a place that does not overlap.
  auto to = static_cast<off_t>(start + kPmd);
  from = static_cast<off_t>(start);
  std::uint64_t copied = 0;
  while (copied < kLength) {
    const ssize_t done = copy_file_range(file.fd(), &from, file.fd(), &to, kLength - copied, 0);
    if (done <= 0) fail_errno("copy_file_range");
    copied += static_cast<std::uint64_t>(done);
  }
  require_bytes(file.fd(), start + kPmd, data, "what copy_file_range copied");
  std::array<int, 2> ends_of_pipe{};
  require(pipe2(ends_of_pipe.data(), O_CLOEXEC) == 0, "pipe");
  const auto few = bytes(0, 3000, 3);
  require(write(ends_of_pipe[1], few.data(), few.size()) == 3000, "filling the pipe");
  to = 5;
  require(splice(ends_of_pipe[0], nullptr, file.fd(), &to, few.size(), 0) == 3000, "splice to it");
  require_bytes(file.fd(), 5, few, "what splice wrote");
}

// bad-buffers FILE: memory that is not there gives EFAULT, and no byte but those before it changes.
void bad_buffers(const Arguments& arguments) {
  const File file(arguments.at(0));
  const auto data = bytes(0, 3 * kPage, 4);
  put(file, 0, data);
  void* const room =
      mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  auto* const half = static_cast<std::uint8_t*>(room);
  std::memset(half, 0xAB, kPage);
  require(mprotect(half + kPage, kPage, PROT_NONE) == 0, "mprotect");
  require_error(pread(file.fd(), half + kPage, 100, 0) == -1, EFAULT, "reading into it");
  require_error(pwrite(file.fd(), half + kPage, 100, 0) == -1, EFAULT, "writing from it");
  require_bytes(file.fd(), 0, data, "a write from nowhere changed bytes");
  const ssize_t written = pwrite(file.fd(), half + kPage - 100, 200, 0);
  require(written <= 100, "more was written than there is");
  require_bytes(file.fd(), 100, bytes(100, 2 * kPage, 4), "bytes behind the buffer's end changed");
}

// beyond FILE: pages behind the last page of the file give SIGBUS, its own last page does not.
void beyond(const Arguments& arguments) {
  const File file(arguments.at(0));
  const std::uint64_t length = (file.size() / kPmd + 2) * kPmd;
  void* const mapped = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
  if (mapped == MAP_FAILED) fail_errno("mmap beyond the end");
  auto* const at = static_cast<std::uint8_t*>(mapped);
  const std::uint64_t behind = (file.size() + kPage - 1) / kPage * kPage;
  require(touch(at + file.size() - 1, true) == 0, "the last byte");
  require(touch(at + behind - 1, true) == 0, "the rest of the last page");
  for (const std::uint64_t offset : {behind, behind + kPage, length - 1}) {
    require(touch(at + offset, false) == BUS_ADRERR, "load behind the end");
    require(touch(at + offset, true) == BUS_ADRERR, "store behind the end");
  }
  void* const wrong = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED,
                           File(arguments.at(0), O_RDONLY).fd(), 0);
  require_error(wrong == MAP_FAILED, EACCES, "a writable mapping of a file opened for reading");
}

// closed FILE: a mapping lives on without the descriptor, and is the file that is opened again.
void closed(const Arguments& arguments) {
  std::uint8_t* const at = File(arguments.at(0)).map();
  const auto data = bytes(kPmd - 50, 100, 5);
  std::memcpy(at + kPmd - 50, data.data(), data.size());
  const File again(arguments.at(0));
  require_bytes(again.fd(), kPmd - 50, data, "what was stored");
  // From the mapping into the file itself: the kernel faults in what it writes.
  require(pwrite(again.fd(), at + kPmd - 50, 100, 7) == 100 &&
              pread(again.fd(), at + 2 * kPmd, 100, 7) == 100,
          "the file's own mapping as the buffer");
  require(std::memcmp(at + 2 * kPmd, data.data(), data.size()) == 0, "bytes copied to itself");
}

}  // namespace probe
