// SPDX-License-Identifier: Apache-2.0
// Contract: what one program writes the next one reads; anything else is refused.
#include "cli/handover.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/file_descriptor.h"
#include "testing/temporary_directory.h"

namespace famfs::cli {
namespace {

using ::famfs::testing::error_code_of;

Handover example() {
  Handover handover;
  handover.fuse_fd = 7;
  handover.lock_fd = -1;
  handover.foreground = true;
  handover.directory = "/srv";
  handover.method = "fmap";
  handover.agreed.init = {{std::byte{1}, std::byte{2}}, {std::byte{3}}};
  handover.agreed.given = {{0, 2}, {5, 6, 7}};
  handover.loans = {{"/dev/dax0.0", "device_dax"}, {"/dev/dax1.0", "device_dax"}};
  handover.nodes.resize(3);
  handover.nodes[2].mode = 0640;
  handover.nodes[2].times[5] = 99;
  return handover;
}

std::string content(int fd) {
  std::string bytes(static_cast<std::size_t>(lseek(fd, 0, SEEK_END)), '\0');
  EXPECT_EQ(pread(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  return bytes;
}

base::FileDescriptor sealed(const std::string& bytes) {
  base::FileDescriptor file(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
  return file;
}

TEST(Handover, IsReadAsItWasWritten) {
  const Handover wrote = example();
  const auto file = write_handover(wrote);
  const Handover read = read_handover(file.get());
  EXPECT_EQ(read.fuse_fd, 7);
  EXPECT_EQ(read.lock_fd, -1);
  EXPECT_TRUE(read.foreground);
  EXPECT_EQ(read.directory, wrote.directory);
  EXPECT_EQ(read.method, wrote.method);
  EXPECT_EQ(read.agreed.init.request, wrote.agreed.init.request);
  EXPECT_EQ(read.agreed.init.reply, wrote.agreed.init.reply);
  EXPECT_EQ(read.agreed.given.devices, wrote.agreed.given.devices);
  EXPECT_EQ(read.agreed.given.maps, wrote.agreed.given.maps);
  EXPECT_EQ(read.loans, wrote.loans);
  ASSERT_EQ(read.nodes.size(), 3U);
  EXPECT_EQ(read.nodes[2].mode, 0640U);
  EXPECT_EQ(read.nodes[2].times[5], 99);
}

TEST(Handover, AnythingElseIsRefused) {
  const std::string whole = content(write_handover(example()).get());
  EXPECT_EQ(error_code_of([&] { read_handover(sealed(whole).get()); }), 0);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_EQ(error_code_of([&] { read_handover(sealed(whole.substr(0, length)).get()); }), EPROTO)
        << length;
  }
  EXPECT_EQ(error_code_of([&] { read_handover(sealed(whole + "x").get()); }), EPROTO);
  std::string other = whole;
  other[8] = 2;  // the version
  EXPECT_EQ(error_code_of([&] { read_handover(sealed(other).get()); }), EPROTO);
  // A count that memory cannot hold.
  for (std::size_t at = 40; at + 8 <= whole.size(); at += 8) {
    other = whole;
    other.replace(at, 8, 8, '\x7f');
    error_code_of([&] { read_handover(sealed(other).get()); });
  }
  const base::FileDescriptor open(memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(write(open.get(), whole.data(), whole.size()), static_cast<ssize_t>(whole.size()));
  EXPECT_EQ(error_code_of([&] { read_handover(open.get()); }), EPROTO);
  EXPECT_EQ(error_code_of([&] { read_handover(-1); }), EPROTO);
}

}  // namespace
}  // namespace famfs::cli
