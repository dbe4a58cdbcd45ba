// SPDX-License-Identifier: Apache-2.0
// Contract: an operation on a node that does not exist, or on one of the wrong kind, is refused by
// the right errno whatever else the message says, and does no harm. Kernels do not ask such things.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/fs.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fuse/ioctl.h"
#include "testing/example_volume.h"
#include "testing/fuse_kernel.h"

namespace famfs::fuse {
namespace {

using testing::body_of;
using testing::Bytes;
using testing::FuseKernel;

constexpr std::uint64_t kUnknownNodes[] = {0, 6, 1ULL << 32, 1ULL << 63,
                                           std::numeric_limits<std::uint64_t>::max()};

fuse_read_in reading(std::uint64_t offset, std::uint32_t size) {
  fuse_read_in in{};
  in.offset = offset;
  in.size = size;
  return in;
}

fuse_setattr_in new_size(std::uint64_t size) {
  fuse_setattr_in in{};
  in.valid = FATTR_SIZE;
  in.size = size;
  return in;
}

fuse_write_in writing(std::uint64_t offset, std::uint32_t size) {
  fuse_write_in in{};
  in.offset = offset;
  in.size = size;
  return in;
}

fuse_getxattr_in room(std::uint32_t size) {
  fuse_getxattr_in in{};
  in.size = size;
  return in;
}

fuse_ioctl_in command(std::uint32_t number, std::uint32_t in_size, std::uint32_t out_size) {
  fuse_ioctl_in in{};
  in.cmd = number;
  in.in_size = in_size;
  in.out_size = out_size;
  return in;
}

struct Message {
  const char* name;
  std::uint32_t opcode;
  Bytes body;
  int unknown;  // errno for a node that does not exist
  int of_file;
  int of_directory;
};

// Nodes of the example: 2 is the directory d, 3 the file d/f1 of 3,000,000 bytes.
constexpr std::uint64_t kDirectory = 2;
constexpr std::uint64_t kFile = 3;

std::vector<Message> messages() {
  const std::string_view name = "x";
  constexpr int kNone = 0;
  return {
      {"lookup", FUSE_LOOKUP, body_of(name), ESTALE, ENOTDIR, ENOENT},
      {"getattr", FUSE_GETATTR, body_of(fuse_getattr_in{}), ESTALE, kNone, kNone},
      {"chmod", FUSE_SETATTR, body_of(fuse_setattr_in{}), ESTALE, kNone, kNone},
      {"truncate", FUSE_SETATTR, body_of(new_size(0)), ESTALE, EPERM, EISDIR},
      {"truncate to -1", FUSE_SETATTR, body_of(new_size(~0ULL)), ESTALE, EPERM, EISDIR},
      {"truncate to its size", FUSE_SETATTR, body_of(new_size(3'000'000)), ESTALE, kNone, EISDIR},
      {"open", FUSE_OPEN, body_of(fuse_open_in{}), ESTALE, kNone, EISDIR},
      {"read", FUSE_READ, body_of(reading(0, 10)), ESTALE, kNone, EISDIR},
      {"read far", FUSE_READ, body_of(reading(1ULL << 62, 10)), ESTALE, kNone, EISDIR},
      {"read before 0", FUSE_READ, body_of(reading(~0ULL, 10)), EINVAL, EINVAL, EINVAL},
      {"write", FUSE_WRITE, body_of(writing(0, 2), name), ESTALE, kNone, EISDIR},
      {"write far", FUSE_WRITE, body_of(writing(1ULL << 62, 2), name), ESTALE, ENOSPC, EISDIR},
      {"write before 0", FUSE_WRITE, body_of(writing(~0ULL, 2), name), EINVAL, EINVAL, EINVAL},
      {"statfs", FUSE_STATFS, {}, ESTALE, kNone, kNone},
      {"flush", FUSE_FLUSH, body_of(fuse_flush_in{}), ESTALE, kNone, kNone},
      {"fsync", FUSE_FSYNC, body_of(fuse_fsync_in{}), ESTALE, kNone, EISDIR},
      {"getxattr", FUSE_GETXATTR, body_of(room(0), name), ESTALE, ENODATA, ENODATA},
      {"getxattr map", FUSE_GETXATTR, body_of(room(0), std::string_view("user.famfs.map")), ESTALE,
       kNone, ENODATA},
      {"getxattr extents", FUSE_GETXATTR, body_of(room(0), std::string_view("user.famfs.extents")),
       ESTALE, kNone, ENODATA},
      {"getxattr position", FUSE_GETXATTR,
       body_of(room(0), std::string_view("user.famfs.position")), ESTALE, kNone, kNone},
      {"getxattr into little", FUSE_GETXATTR,
       body_of(room(1), std::string_view("user.famfs.position")), ESTALE, ERANGE, ERANGE},
      {"listxattr", FUSE_LISTXATTR, body_of(room(0)), ESTALE, kNone, kNone},
      {"listxattr into little", FUSE_LISTXATTR, body_of(room(1)), ESTALE, ERANGE, ERANGE},
      {"setxattr", FUSE_SETXATTR, body_of(std::uint64_t{1}, name, name), ESTALE, EOPNOTSUPP,
       EOPNOTSUPP},
      {"removexattr", FUSE_REMOVEXATTR, body_of(name), ESTALE, EOPNOTSUPP, EOPNOTSUPP},
      {"setxattr of ours", FUSE_SETXATTR,
       body_of(std::uint64_t{1}, std::string_view("user.famfs.map"), name), ESTALE, EPERM, EPERM},
      {"removexattr of ours", FUSE_REMOVEXATTR, body_of(std::string_view("user.famfs.map")), ESTALE,
       EPERM, EPERM},
      {"opendir", FUSE_OPENDIR, body_of(fuse_open_in{}), ESTALE, ENOTDIR, kNone},
      {"readdir", FUSE_READDIR, body_of(reading(0, 4096)), ESTALE, ENOTDIR, kNone},
      {"readdir far", FUSE_READDIR, body_of(reading(1ULL << 62, 4096)), ESTALE, ENOTDIR, kNone},
      {"readdir before 0", FUSE_READDIR, body_of(reading(~0ULL, 4096)), EINVAL, EINVAL, EINVAL},
      {"readdirplus", FUSE_READDIRPLUS, body_of(reading(0, 4096)), ESTALE, ENOTDIR, kNone},
      {"readdirplus into little", FUSE_READDIRPLUS, body_of(reading(0, 1)), ESTALE, ENOTDIR, kNone},
      {"mkdir of a path", FUSE_MKDIR, body_of(fuse_mkdir_in{}, std::string_view("a/../b")), ESTALE,
       ENOTDIR, EINVAL},
      {"unknown ioctl", FUSE_IOCTL, body_of(command(1, 0, 0)), ENOTTY, ENOTTY, ENOTTY},
      {"ioctl of a wrong size", FUSE_IOCTL, body_of(command(ioctl::kCreateFiles, 4, 4), 4), ENOTTY,
       ENOTTY, ENOTTY},
      {"create", FUSE_CREATE, body_of(fuse_create_in{}, name), EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP},
      {"mknod", FUSE_MKNOD, body_of(fuse_mknod_in{}, name), EPERM, EPERM, EPERM},
      {"unlink", FUSE_UNLINK, body_of(name), EPERM, EPERM, EPERM},
      {"rmdir", FUSE_RMDIR, body_of(name), EPERM, EPERM, EPERM},
      {"rename", FUSE_RENAME, body_of(fuse_rename_in{}, name, name), EPERM, EPERM, EPERM},
      {"rename2", FUSE_RENAME2, body_of(fuse_rename2_in{}, name, name), EPERM, EPERM, EPERM},
      {"symlink", FUSE_SYMLINK, body_of(name, name), EPERM, EPERM, EPERM},
      {"link", FUSE_LINK, body_of(fuse_link_in{}, name), EPERM, EPERM, EPERM},
      {"fallocate", FUSE_FALLOCATE, body_of(fuse_fallocate_in{}), EOPNOTSUPP, EOPNOTSUPP,
       EOPNOTSUPP},
      {"release", FUSE_RELEASE, body_of(fuse_release_in{}), kNone, kNone, kNone},
      {"releasedir", FUSE_RELEASEDIR, body_of(fuse_release_in{}), kNone, kNone, kNone},
      {"fsyncdir", FUSE_FSYNCDIR, body_of(fuse_fsync_in{}), kNone, kNone, kNone},
      // The kernel does these itself when it is told that the server does not know them.
      {"access", FUSE_ACCESS, body_of(fuse_access_in{}), ENOSYS, ENOSYS, ENOSYS},
      {"lseek", FUSE_LSEEK, body_of(fuse_lseek_in{}), ENOSYS, ENOSYS, ENOSYS},
      {"poll", FUSE_POLL, body_of(fuse_poll_in{}), ENOSYS, ENOSYS, ENOSYS},
      {"copy_file_range", FUSE_COPY_FILE_RANGE, body_of(fuse_copy_file_range_in{}), ENOSYS, ENOSYS,
       ENOSYS},
      {"getlk", FUSE_GETLK, body_of(fuse_lk_in{}), ENOSYS, ENOSYS, ENOSYS},
      {"setlk", FUSE_SETLK, body_of(fuse_lk_in{}), ENOSYS, ENOSYS, ENOSYS},
      {"bmap", FUSE_BMAP, body_of(fuse_bmap_in{}), ENOSYS, ENOSYS, ENOSYS},
      {"no operation", 3999, {}, ENOSYS, ENOSYS, ENOSYS},
  };
}

class Operations : public ::testing::Test {
 protected:
  testing::ExampleVolume example_;
  testing::RecordingMemory* memory_ = nullptr;
  std::unique_ptr<volume::Volume> volume_ = example_.open(testing::master_uuid(), &memory_);
  FuseKernel kernel_{*volume_};
};

TEST_F(Operations, UnknownNodesAreStaleAndWrongKindsRefused) {
  const std::uint64_t nodes = volume_->space().nodes();
  for (const Message& message : messages()) {
    const auto check = [&](std::uint64_t node, int expected) {
      const FuseKernel::Answer answer = kernel_.ask(message.opcode, node, message.body);
      EXPECT_TRUE(answer.given) << message.name << " of " << node;
      EXPECT_EQ(answer.error, expected) << message.name << " of " << node;
    };
    for (const std::uint64_t node : kUnknownNodes) check(node, message.unknown);
    check(kFile, message.of_file);
    check(kDirectory, message.of_directory);
  }
  EXPECT_EQ(volume_->space().nodes(), nodes);
}

// Requests of ioctl.h, as any process may send them.
class Requests : public Operations {
 protected:
  template <typename Body>
  Body ask(unsigned number, std::uint64_t node, Body body, std::uint32_t uid = 0) {
    const FuseKernel::Answer answer = kernel_.ask(
        FUSE_IOCTL, node, body_of(command(number, sizeof(body), sizeof(body)), body), uid);
    EXPECT_EQ(answer.error, 0);
    EXPECT_EQ(answer.body.size(), sizeof(fuse_ioctl_out) + sizeof(body));
    std::memcpy(&body, answer.body.data() + sizeof(fuse_ioctl_out), sizeof(body));
    return body;
  }
  template <typename Body>
  static Body request() {
    Body body{};
    body.status.version = ioctl::kVersion;
    return body;
  }
  static ioctl::CreateFiles new_files(std::uint32_t count, std::string_view name = "new") {
    auto body = request<ioctl::CreateFiles>();
    body.count = count;
    body.file[0].size = 1;
    body.file[0].mode = 0600;
    name.copy(body.file[0].name, ioctl::kNameBytes);
    return body;
  }
  static ioctl::MakeDirectory new_directory(std::string_view name) {
    auto body = request<ioctl::MakeDirectory>();
    body.mode = 0700;
    name.copy(body.name, ioctl::kNameBytes);
    return body;
  }
  int create(const ioctl::CreateFiles& body, std::uint32_t uid = 0) {
    return ask(ioctl::kCreateFiles, kDirectory, body, uid).status.error;
  }
  int make_directory(const ioctl::MakeDirectory& body, std::uint32_t uid = 0) {
    return ask(ioctl::kMakeDirectory, kDirectory, body, uid).status.error;
  }
};

TEST_F(Requests, WhatTheyAskForIsBounded) {
  const std::uint64_t nodes = volume_->space().nodes();
  EXPECT_EQ(create(new_files(0)), EINVAL);
  EXPECT_EQ(create(new_files(ioctl::kBatch + 1)), EINVAL);
  EXPECT_EQ(create(new_files(~0U)), EINVAL);
  for (const std::string_view name : {"a/b", "/", "../x", "", ".", ".."}) {
    EXPECT_EQ(create(new_files(1, name)), EINVAL) << name;
    EXPECT_EQ(make_directory(new_directory(name)), EINVAL) << name;
  }
  const std::string longest(ioctl::kNameBytes, 'x');  // without a NUL
  EXPECT_EQ(create(new_files(1, longest)), ENAMETOOLONG);
  EXPECT_EQ(make_directory(new_directory(longest)), ENAMETOOLONG);
  EXPECT_EQ(ask(ioctl::kGetWindow, 1,
                [] {
                  auto body = request<ioctl::GetWindow>();
                  body.device = 1;
                  return body;
                }())
                .status.error,
            ENOENT);
  for (const std::uint32_t index : {0U, 1U, ~0U}) {
    auto body = request<ioctl::GetDevice>();
    body.index = index;
    EXPECT_EQ(ask(ioctl::kGetDevice, 1, body).status.error, ENOENT) << index;
  }
  EXPECT_EQ(volume_->space().nodes(), nodes);
  EXPECT_EQ(create(new_files(1)), 0);
  EXPECT_EQ(make_directory(new_directory("sub")), 0);
  EXPECT_EQ(volume_->space().nodes(), nodes + 2);
}

TEST_F(Requests, OfAnotherVersionAreRefused) {
  auto body = new_files(1);
  body.status.version = ioctl::kVersion + 1;
  const auto answer = ask(ioctl::kCreateFiles, kDirectory, body);
  EXPECT_EQ(answer.status.error, EPROTONOSUPPORT);
  EXPECT_EQ(answer.status.version, ioctl::kVersion);
  EXPECT_NE(answer.status.message[0], '\0');
}

TEST_F(Requests, NeedPermissionToWriteInTheDirectory) {
  constexpr std::uint32_t kStranger = 4711;
  EXPECT_EQ(create(new_files(1), kStranger), EACCES);
  EXPECT_EQ(make_directory(new_directory("sub"), kStranger), EACCES);
  volume_->set_attributes(kDirectory, {.mode = 0777});
  EXPECT_EQ(create(new_files(1), kStranger), EPERM);  // a file of root
  auto own = new_files(1);
  own.file[0].uid = kStranger;
  EXPECT_EQ(create(own, kStranger), 0);
  auto device = request<ioctl::AddDevice>();
  EXPECT_EQ(ask(ioctl::kAddDevice, 1, device, kStranger).status.error, EPERM);
}

TEST_F(Operations, ForgettingWhatDoesNotExistIsHarmless) {
  for (const std::uint64_t node : kUnknownNodes) {
    fuse_forget_in once{};
    once.nlookup = ~0ULL;
    EXPECT_FALSE(kernel_.ask(FUSE_FORGET, node, body_of(once)).given);
    fuse_batch_forget_in batch{};
    batch.count = 1;
    EXPECT_FALSE(kernel_.ask(FUSE_BATCH_FORGET, 0, body_of(batch, node, ~0ULL)).given);
  }
  EXPECT_EQ(kernel_.ask(FUSE_GETATTR, kFile, body_of(fuse_getattr_in{})).error, 0);
}

fuse_attr_out attributes(FuseKernel& kernel, std::uint64_t node) {
  fuse_attr_out out{};
  const Bytes body = kernel.ask(FUSE_GETATTR, node, body_of(fuse_getattr_in{})).body;
  EXPECT_GE(body.size(), sizeof(out));
  std::memcpy(&out, body.data(), std::min(body.size(), sizeof(out)));
  return out;
}

// The names of a listing that is read in pieces of `size` bytes.
std::vector<std::string> listing(FuseKernel& kernel, std::uint32_t opcode, std::uint32_t size) {
  std::vector<std::string> names;
  std::uint64_t offset = 0;
  const std::size_t ahead = opcode == FUSE_READDIRPLUS ? sizeof(fuse_entry_out) : 0;
  while (true) {
    const Bytes piece = kernel.ask(opcode, 1, body_of(reading(offset, size))).body;
    if (piece.empty()) return names;
    EXPECT_LE(piece.size(), size);
    for (std::size_t at = 0; at + ahead + sizeof(fuse_dirent) <= piece.size();) {
      fuse_dirent entry{};
      std::memcpy(&entry, piece.data() + at + ahead, FUSE_NAME_OFFSET);
      names.emplace_back(
          reinterpret_cast<const char*>(piece.data()) + at + ahead + FUSE_NAME_OFFSET,
          entry.namelen);
      offset = entry.off;
      at += ahead + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + entry.namelen);
    }
  }
}

TEST_F(Operations, ListingsAreWholeInPiecesOfAnySize) {
  using ::testing::ElementsAre;
  for (const std::uint32_t size : {33U, 64U, 4096U}) {
    EXPECT_THAT(listing(kernel_, FUSE_READDIR, size), ElementsAre(".", "..", "d", "striped"));
  }
  for (const std::uint32_t size : {170U, 400U, 4096U}) {
    EXPECT_THAT(listing(kernel_, FUSE_READDIRPLUS, size), ElementsAre(".", "..", "d", "striped"));
  }
}

TEST_F(Operations, AClientSeesWhatTheMasterHasJustMade) {
  const auto volume = example_.open(testing::client_uuid());
  FuseKernel client(*volume);
  volume_->make_directory(testing::a_directory("listed"));
  EXPECT_THAT(listing(client, FUSE_READDIR, 4096),
              ::testing::ElementsAre(".", "..", "d", "striped", "listed"));
  volume_->make_directory(testing::a_directory("counted"));
  EXPECT_EQ(attributes(client, 1).attr.nlink, 2U + 3U);
  volume_->make_directory(testing::a_directory("found"));
  EXPECT_EQ(client.ask(FUSE_LOOKUP, 1, body_of(std::string_view("found"))).error, 0);
}

// Its links and times change when another host adds to it.
TEST_F(Operations, AttributesOfADirectoryAreKeptForASecondAtMost) {
  EXPECT_EQ(attributes(kernel_, kDirectory).attr_valid, 1U);
  EXPECT_EQ(attributes(kernel_, kFile).attr_valid, FuseKernel::kTimeout);
}

TEST_F(Operations, WriteIsInMemoryBeforeItIsAnsweredAndFsyncWritesTheWholeFileBack) {
  using Event = testing::RecordingMemory::Event;
  using Kind = testing::RecordingMemory::Kind;
  using ::testing::ElementsAre;
  constexpr std::uint64_t kStart = 10 * testing::kMiB;      // of d/f1
  constexpr std::uint64_t kLines = 3'000'000ULL / 64 * 64;  // its last line is whole
  const auto of_file = [&] {
    std::vector<Event> events;
    for (const Event& event : memory_->events) {
      const bool fence = event.kind == Kind::kStoreFence;
      if (fence || event.offset >= kStart) events.push_back(event);
    }
    memory_->events.clear();
    return events;
  };
  memory_->events.clear();
  Bytes body = body_of(writing(64, 64));
  body.resize(body.size() + 64, std::byte{7});
  EXPECT_EQ(kernel_.ask(FUSE_WRITE, kFile, body).error, 0);
  EXPECT_THAT(of_file(),
              ElementsAre(Event{Kind::kWriteBack, kStart + 64, 64}, Event{Kind::kStoreFence}));
  EXPECT_EQ(kernel_.ask(FUSE_FSYNC, kFile, body_of(fuse_fsync_in{})).error, 0);
  EXPECT_THAT(of_file(),
              ElementsAre(Event{Kind::kWriteBack, kStart, kLines}, Event{Kind::kStoreFence},
                          Event{Kind::kInvalidate, kStart, kLines}));
}

TEST_F(Operations, XattrsSayWhereTheBytesAre) {
  const auto value = [&](std::uint64_t node, std::string_view name) {
    const Bytes body = kernel_.ask(FUSE_GETXATTR, node, body_of(room(4096), name)).body;
    return std::string(reinterpret_cast<const char*>(body.data()), body.size());
  };
  EXPECT_EQ(value(kFile, "user.famfs.map"),
            R"({"size":3000000,"method":"daemon-served","layout":"contiguous","extents":1})");
  EXPECT_EQ(value(kFile, "user.famfs.extents"),
            R"([{"device":0,"offset":10485760,"length":4194304}])");
  EXPECT_EQ(value(5, "user.famfs.map"),
            R"({"size":9000001,"method":"daemon-served","layout":"interleaved","strips":3,)"
            R"("chunk_size":2097152})");
  EXPECT_EQ(value(1, "user.famfs.position"), R"({"played":4,"announced":4,"capacity":15420})");
  // What another host announced counts before this one has read it.
  const std::vector<volume::CreateRequest> one = {testing::a_directory("new")};
  example_.open(testing::master_uuid())->create(one);
  EXPECT_EQ(value(1, "user.famfs.position"), R"({"played":4,"announced":5,"capacity":15420})");
  EXPECT_EQ(value(2, "user.famfs.shadow"), "/run/of/test");
}

TEST_F(Operations, ListedXattrsAreThoseThatCanBeRead) {
  for (const std::uint64_t node : {std::uint64_t{1}, kDirectory, kFile}) {
    // An answer with a list is nothing but names, each with its NUL.
    const Bytes list = kernel_.ask(FUSE_LISTXATTR, node, body_of(room(4096))).body;
    const std::string names(reinterpret_cast<const char*>(list.data()), list.size());
    for (std::size_t at = 0; at < names.size(); at = names.find('\0', at) + 1) {
      const std::string_view name(names.data() + at);
      EXPECT_EQ(kernel_.ask(FUSE_GETXATTR, node, body_of(room(4096), name)).error, 0) << name;
    }
    EXPECT_EQ(names.find("user.famfs.map") != std::string::npos, node == kFile);
  }
}

// Each is the first to be asked, so no other has noticed before.
TEST_F(Operations, OnFilesOfAReplacedFileSystemAreStaleAtOnce) {
  const std::string_view text = "x";
  const std::pair<std::uint32_t, Bytes> asked[] = {
      {FUSE_OPEN, body_of(fuse_open_in{})},
      {FUSE_READ, body_of(reading(0, 10))},
      {FUSE_WRITE, body_of(writing(0, 1), text)},
  };
  std::array<std::unique_ptr<volume::Volume>, std::size(asked)> volumes;
  for (auto& volume : volumes) volume = example_.open(testing::master_uuid());
  example_.replace();
  for (std::size_t i = 0; i < std::size(asked); ++i) {
    FuseKernel kernel(*volumes[i]);
    EXPECT_EQ(kernel.ask(asked[i].first, kFile, asked[i].second).error, ESTALE) << asked[i].first;
  }
}

TEST_F(Operations, XattrsAfterTheFileSystemWasReplaced) {
  example_.replace();
  EXPECT_FALSE(volume_->check_identity());
  const auto ask = [&](std::uint64_t node, std::string_view name) {
    return kernel_.ask(FUSE_GETXATTR, node, body_of(room(4096), name));
  };
  const Bytes devices = ask(1, "user.famfs.devices").body;
  EXPECT_THAT(std::string(reinterpret_cast<const char*>(devices.data()), devices.size()),
              ::testing::HasSubstr(R"("state":"replaced")"));
  EXPECT_EQ(ask(1, "user.famfs.shadow").error, 0);
  EXPECT_EQ(ask(1, "user.famfs.position").error, ESTALE);
  EXPECT_EQ(ask(2, "user.famfs.shadow").error, ESTALE);
  EXPECT_EQ(kernel_.ask(FUSE_LISTXATTR, 1, body_of(room(0))).error, ESTALE);
}

}  // namespace
}  // namespace famfs::fuse
