// SPDX-License-Identifier: Apache-2.0
//
// Method (a): maps that the kernel has to refuse, large maps, and devices told by descriptor.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <limits>

#include "mapsrv/check.h"
#include "mapsrv/groups.h"
#include "mapsrv/rawio.h"

namespace mapsrv {
namespace {

constexpr std::uint64_t kHuge = 2 * kMebi;
constexpr std::uint64_t kFree = 512 * kMebi;  // nothing else is there in the device
constexpr std::uint64_t kFar = 1ULL << 45;    // behind the end of any device
constexpr std::uint32_t kMost = std::numeric_limits<std::uint32_t>::max();

struct Extent {
  std::uint64_t size = kHuge;  // of the file
  std::uint32_t device = 0;
  std::uint64_t offset = kFree;
  std::uint64_t length = kHuge;
};

Fmap simple(const Extent& extent) {
  return Fmap(extent.size, 0, 1).simple(extent.device, extent.offset, extent.length);
}

struct Strips {
  std::uint32_t said = 2;  // how many the extent says
  unsigned there = 2;      // how many there are
  std::uint32_t chunk = kHuge;
  std::uint64_t bytes = 8 * kMebi;
  std::uint64_t length = 4 * kMebi;  // of each
};

Fmap interleaved(const Strips& strips) {
  Fmap fmap(8 * kMebi, 1, 1);
  fmap.interleaved(strips.said, strips.chunk, strips.bytes);
  for (unsigned number = 0; number < strips.there; ++number)
    fmap.simple(0, kFree + 8 * number * kMebi, strips.length);
  return fmap;
}

class Checker {
 public:
  Checker(Session& session, File& file) : session_(session), file_(file) {}

  void operator()(const std::string& what, int error, const Fmap& fmap) const {
    file_.size = fmap.header.file_size;
    file_.fmap = fmap.bytes();
    session_.expect_open(file_, error, what);
  }

  // A good map but for what `spoil` does to its header.
  void header(const std::string& what, int error,
              const std::function<void(abi::FmapHeader&)>& spoil) const {
    Fmap fmap = simple({});
    spoil(fmap.header);
    file_.size = kHuge;  // the kernel knows a sound one
    file_.fmap = fmap.bytes();
    session_.expect_open(file_, error, what);
  }

  // A good map of which only the first bytes arrive.
  void cut(std::size_t size) const {
    file_.size = kHuge;
    file_.fmap = simple({}).bytes();
    file_.fmap.resize(size);
    session_.expect_open(file_, EINVAL, std::to_string(size) + " bytes");
  }

 private:
  Session& session_;
  File& file_;
};

}  // namespace

void check_wrong_fmaps(Session& session) {
  Server& server = session.server;
  const Checker expect(session, server.add("wrong"));
  expect("good", 0, simple({}));

  say("headers");
  expect.header("version", EINVAL, [](auto& header) { header.fmap_version = 2; });
  expect.header("file type", EINVAL, [](auto& header) { header.file_type = 3; });
  expect.header("extent type", EINVAL, [](auto& header) { header.ext_type = 2; });
  expect.header("no extents", EINVAL, [](auto& header) { header.nextents = 0; });
  expect.header("extents missing", EINVAL, [](auto& header) { header.nextents = 2; });
  expect.header("a million extents", E2BIG, [](auto& header) { header.nextents = 1000000; });
  expect.header("2^32 extents", E2BIG, [](auto& header) { header.nextents = kMost; });
  expect.header("size 0", EINVAL, [](auto& header) { header.file_size = 0; });
  expect.header("size 2^64", EINVAL, [](auto& header) { header.file_size = ~0ULL; });
  expect.cut(31);
  expect.cut(0);

  say("simple extents");
  expect("extents shorter than the file", EINVAL, simple({.size = kHuge + 1}));
  expect("offset misaligned", EINVAL, simple({.offset = kFree + 512}));
  expect("length misaligned", EINVAL, simple({.length = kHuge + 512}));
  expect("length 0", EINVAL, simple({.length = 0}));
  expect("outside the device", EINVAL, simple({.offset = kFar}));
  expect("address 2^51", EINVAL, simple({.offset = 1ULL << 51}));
  expect("longer than the device", EINVAL, simple({.size = kFar, .offset = 0, .length = kFar}));
  expect("overflow", EINVAL, simple({.offset = 0 - kHuge, .length = 2 * kHuge}));
  expect("unknown device", ENODEV, simple({.device = abi::kMaxDaxdevs - 1}));
  expect("device index 64", EINVAL, simple({.device = abi::kMaxDaxdevs}));
  expect("device index 2^32", EINVAL, simple({.device = kMost}));
  expect("overlap with itself", EINVAL,
         Fmap(4 * kMebi, 0, 2).simple(0, kFree, kHuge).simple(0, kFree + kMebi, kHuge));

  say("names of devices");
  std::string& name = server.misbehaviour.name_of_others;
  name = "/dev/null";
  expect("another kind of device", ENODEV, simple({.device = 9}));
  name = "/bin/true";
  expect("a regular file", ENODEV, simple({.device = 9}));
  name = server.devices().front().substr(1);
  expect("a relative name", EINVAL, simple({.device = 9}));
  name = std::string(sizeof(abi::DaxdevOut::name), '/');
  expect("a name without end", EINVAL, simple({.device = 9}));
  name = server.devices().front();
  server.misbehaviour.index_shift = 1;
  expect("another index", EINVAL, simple({.device = 9}));
  server.misbehaviour.index_shift = 0;
  name.clear();

  say("interleaved extents");
  expect("good interleaved", 0, interleaved({}));
  expect("no strips", EINVAL, interleaved({.said = 0}));
  expect("33 strips", E2BIG, interleaved({.said = 33, .there = 33, .length = kHuge}));
  expect("2^32 strips", E2BIG, interleaved({.said = kMost}));
  expect("chunk 0", EINVAL, interleaved({.chunk = 0}));
  expect("chunk misaligned", EINVAL, interleaved({.chunk = kHuge + 1}));
  expect("fewer bytes than the file", EINVAL, interleaved({.bytes = 4 * kMebi}));
  expect("strips too short", EINVAL, interleaved({.length = kHuge}));
  expect("a strip missing", EINVAL, interleaved({.said = 3}));

  say("other files");
  File& neighbour = server.add("neighbour");
  session.map(neighbour, 64 * kMebi, {0, 64 * kMebi, 64 * kMebi});
  const int fd = Session::open(neighbour, O_RDONLY);
  REQUIRE(fd >= 0);
  expect("overlap with another file", EINVAL, simple({.offset = 127 * kMebi}));
  expect("just behind another file", 0, simple({.offset = 128 * kMebi}));
  close(fd);
}

void check_large_fmap(Session& session) {
  constexpr unsigned kExtents = 4000;
  constexpr std::uint64_t kPage = 4096;
  File& file = session.server.add("large");
  Fmap fmap(kExtents * kPage, 0, kExtents);
  for (unsigned number = 0; number < kExtents; ++number)
    fmap.simple(0, kFree + 2 * number * kPage, kPage);
  fmap.header.reserved1 = fmap.bytes().size();
  file.size = kExtents * kPage;
  file.fmap = fmap.bytes();
  file.header_first = true;
  const int fd = Session::open(file, O_RDWR);
  REQUIRE(fd >= 0);
  EXPECT(session.server.messages(abi::kGetFmap) == 2);
  const std::vector<char> content = patterned(5 * kPage, 9);
  std::vector<char> back(content.size());
  constexpr off_t kPlace = 3990 * kPage - 100;
  EXPECT(pwrite(fd, content.data(), content.size(), kPlace) ==
         static_cast<ssize_t>(content.size()));
  EXPECT(pread(fd, back.data(), back.size(), kPlace) == static_cast<ssize_t>(back.size()));
  EXPECT(content == back);
  close(fd);
  session.withdraw(file);

  fmap.header.reserved1 = 2 * kMebi;
  file.fmap = fmap.bytes();
  session.expect_open(file, E2BIG, "2 MiB of map");
}

void check_registration(Session& session) {
  const Server& server = session.server;
  const std::string& device = server.devices().front();
  abi::DaxdevRegisterIn in{};
  auto register_device = [&](const std::string& path, int flags, std::uint32_t index) {
    in.fd = open(path.c_str(), flags | O_CLOEXEC);
    REQUIRE(in.fd >= 0);
    in.index = index;
    const int result = ioctl(server.fuse(), abi::kIoctlDaxdevRegister, &in);
    const int error = errno;
    close(in.fd);
    errno = error;
    return result;
  };
  EXPECT(register_device(device, O_RDWR, 5) == 0);
  EXPECT(register_device(device, O_RDWR, 5) == 0);
  EXPECT_ERROR(register_device(device, O_RDONLY, 6), EACCES);
  EXPECT_ERROR(register_device("/dev/null", O_RDWR, 6), ENODEV);
  EXPECT_ERROR(register_device(device, O_RDWR, abi::kMaxDaxdevs), EINVAL);
  if (session.device_count() > 1)
    EXPECT_ERROR(register_device(server.devices().back(), O_RDWR, 5), EEXIST);
  in.spare[1] = 1;
  EXPECT_ERROR(register_device(device, O_RDWR, 7), EINVAL);
  in.spare[1] = 0;
  {
    const WithoutRawIo dropped;
    EXPECT_ERROR(register_device(device, O_RDWR, 7), EPERM);
  }
  // in.fd is closed by now.
  EXPECT_ERROR(ioctl(server.fuse(), abi::kIoctlDaxdevRegister, &in), EBADF);

  say("the other method");
  abi::BackingCreateIn create{};
  create.fd = open(device.c_str(), O_RDWR | O_CLOEXEC);
  create.backing_id = 1;
  EXPECT_ERROR(ioctl(server.fuse(), abi::kIoctlBackingCreate, &create), EOPNOTSUPP);
  close(create.fd);
  const abi::BackingMap map{1, 0, abi::kMapCreate, {0, 0}};
  EXPECT(server.notify(abi::kNotifyBackingMap, bytes_of(map)) == EOPNOTSUPP);
  const abi::BackingRemove remove{1, 0};
  EXPECT(server.notify(abi::kNotifyBackingRemove, bytes_of(remove)) == EOPNOTSUPP);

  say("by descriptor, the kernel asks for no name");
  const Checker expect(session, session.server.add("registered"));
  expect("registered device", 0, simple({.device = 5}));
  EXPECT(server.messages(abi::kGetDaxdev) == 0);
}

void check_withdrawn_early(Session& session) {
  Server& server = session.server;
  const Checker expect(session, server.add("fleeting"));
  server.misbehaviour.withdrawals = 1;
  expect("withdrawn once", 0, simple({}));
  EXPECT(server.messages(abi::kGetFmap) == 2, "the kernel asks a second time");
  server.misbehaviour.withdrawals = 1000;
  expect("withdrawn each time", EAGAIN, simple({}));
}

}  // namespace mapsrv
