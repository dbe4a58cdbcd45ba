// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/crc32.h"
#include "base/error.h"
#include "base/file_descriptor.h"
#include "base/json.h"
#include "base/mapping.h"
#include "base/size_units.h"
#include "base/system_uuid.h"
#include "base/test_pattern.h"
#include "base/uuid.h"
#include "testing/temporary_directory.h"

namespace famfs::base {
namespace {

using ::famfs::testing::error_code_of;
using ::famfs::testing::TemporaryDirectory;

TEST(Checked, RefusesToWrap) {
  EXPECT_EQ(checked_add(1, 2), 3U);
  EXPECT_EQ(checked_add(UINT64_MAX, 1), std::nullopt);
  EXPECT_EQ(checked_multiply(uint64_t{1} << 32, uint64_t{1} << 32), std::nullopt);
  EXPECT_EQ(round_up(1, 4096), 4096U);
  EXPECT_EQ(round_up(4096, 4096), 4096U);
  EXPECT_EQ(round_up(UINT64_MAX, 4096), std::nullopt);
  EXPECT_EQ(round_down(4097, 4096), 4096U);
  EXPECT_EQ(divide_up(UINT64_MAX, 2), uint64_t{1} << 63);
}

TEST(Checked, RangeWithinDoesNotOverflow) {
  EXPECT_TRUE(range_within(0, 10, 10));
  EXPECT_TRUE(range_within(10, 0, 10));
  EXPECT_FALSE(range_within(11, 0, 10));
  EXPECT_FALSE(range_within(5, 6, 10));
  EXPECT_FALSE(range_within(5, UINT64_MAX, 10));
}

TEST(Bytes, LoadsAndStoresLittleEndianUnaligned) {
  std::array<std::byte, 11> bytes{};
  store<uint64_t>(bytes, 3, 0x0102030405060708);
  EXPECT_EQ(bytes[3], std::byte{8});
  EXPECT_EQ(bytes[10], std::byte{1});
  EXPECT_EQ(load<uint64_t>(bytes, 3), 0x0102030405060708U);
  EXPECT_EQ(load<uint32_t>(bytes, 7), 0x01020304U);
}

TEST(Crc32, MatchesTheStandardCheckValue) {
  const std::string_view text = "123456789";
  EXPECT_EQ(crc32(std::as_bytes(std::span(text))), 0xcbf43926U);
  EXPECT_EQ(crc32({}), 0U);
}

TEST(Uuid, ParsesWhatItPrints) {
  const auto uuid = Uuid::parse("3685e71f-ab37-4089-94b5-3E949CF8FD40");
  ASSERT_TRUE(uuid);
  EXPECT_EQ(uuid->bytes[0], std::byte{0x36});
  EXPECT_EQ(uuid->bytes[15], std::byte{0x40});
  EXPECT_EQ(uuid->to_string(), "3685e71f-ab37-4089-94b5-3e949cf8fd40");
}

TEST(Uuid, RefusesOtherText) {
  EXPECT_FALSE(Uuid::parse(""));
  EXPECT_FALSE(Uuid::parse("3685e71f-ab37-4089-94b5-3e949cf8fd4"));
  EXPECT_FALSE(Uuid::parse("3685e71f-ab37-4089-94b5-3e949cf8fd401"));
  EXPECT_FALSE(Uuid::parse("3685e71f_ab37-4089-94b5-3e949cf8fd40"));
  EXPECT_FALSE(Uuid::parse("g685e71f-ab37-4089-94b5-3e949cf8fd40"));
}

TEST(Uuid, RandomIsVersionFourAndDiffers) {
  const Uuid a = Uuid::random();
  EXPECT_NE(a, Uuid::random());
  EXPECT_EQ(a.to_string()[14], '4');
  EXPECT_FALSE(a.is_nil());
}

TEST(SizeUnits, ParsesSuffixes) {
  EXPECT_EQ(parse_size("4096"), 4096U);
  EXPECT_EQ(parse_size("8m"), 8U << 20);
  EXPECT_EQ(parse_size("2M"), 2U << 20);
  EXPECT_EQ(parse_size("4G"), uint64_t{4} << 30);
  EXPECT_EQ(parse_size("0x200000"), 0x200000U);
  EXPECT_EQ(parse_size("18446744073709551615"), UINT64_MAX);
}

TEST(SizeUnits, RefusesOtherText) {
  for (const char* text : {"", "m", "-1", "1.5m", "1x", "0x", " 1", "1 ", "1mm"}) {
    EXPECT_EQ(error_code_of([&] { parse_size(text); }), EINVAL) << text;
  }
  for (const char* text : {"18446744073709551616", "99999999999g", "16777216t"}) {
    EXPECT_EQ(error_code_of([&] { parse_size(text); }), ERANGE) << text;
  }
}

TEST(SizeUnits, HumanSize) {
  EXPECT_EQ(human_size(0), "0B");
  EXPECT_EQ(human_size(1023), "1023B");
  EXPECT_EQ(human_size(1536), "1.5K");
  EXPECT_EQ(human_size(uint64_t{4} << 30), "4.0G");
  EXPECT_EQ(human_size(UINT64_MAX), "16.0E");
}

TEST(FileDescriptor, ReportsPathAndErrno) {
  try {
    open_file("/nonexistent/file", O_RDONLY);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ENOENT);
    EXPECT_NE(error.message().find("/nonexistent/file"), std::string::npos);
  }
}

TEST(FileDescriptor, ClosesOnce) {
  FileDescriptor a = open_file("/dev/null", O_RDONLY);
  const int fd = a.get();
  FileDescriptor b = std::move(a);
  EXPECT_FALSE(a);  // NOLINT(bugprone-use-after-move): the moved-from state is what is tested
  EXPECT_EQ(b.get(), fd);
  b.reset();
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
}

TEST(FileDescriptor, SmallFileHasALimit) {
  EXPECT_EQ(error_code_of([] { read_small_file("/dev/zero", 100); }), EFBIG);
}

TEST(Mapping, FailureIsAnError) {
  EXPECT_EQ(error_code_of([] { Mapping::shared(-1, 4096, true); }), EBADF);
}

TEST(Mapping, AnonymousIsZero) {
  const Mapping mapping = Mapping::anonymous(1 << 20);
  EXPECT_EQ(mapping.size(), 1U << 20);
  EXPECT_EQ(mapping.data()[12345], std::byte{0});
}

TEST(SystemUuid, CreatedOnceReadOnly) {
  const TemporaryDirectory directory;
  const std::string path = directory / "sub/system_uuid";
  const Uuid uuid = load_or_create_system_uuid(path);
  EXPECT_EQ(load_or_create_system_uuid(path), uuid);
  EXPECT_EQ(read_small_file(path), uuid.to_string() + '\0');
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0444U);
}

TEST(SystemUuid, IsForEveryoneToReadWhateverTheUmask) {
  const TemporaryDirectory directory;
  const mode_t before = ::umask(0077);
  load_or_create_system_uuid(directory / "a/b/system_uuid");
  ::umask(before);
  for (const char* made : {"a", "a/b"}) {
    struct stat status{};
    ASSERT_EQ(::stat((directory / made).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0755U) << made;
  }
}

TEST(SystemUuid, ConcurrentCreatorsAgree) {
  const TemporaryDirectory directory;
  const std::string path = directory / "system_uuid";
  std::vector<Uuid> seen(8);
  {
    std::vector<std::jthread> threads;
    threads.reserve(seen.size());
    for (Uuid& uuid : seen) {
      threads.emplace_back([&uuid, &path] { uuid = load_or_create_system_uuid(path); });
    }
  }
  for (const Uuid& uuid : seen) EXPECT_EQ(uuid, seen.front());
  // No temporary file is left.
  EXPECT_EQ(
      std::distance(std::filesystem::directory_iterator(std::filesystem::path(path).parent_path()),
                    std::filesystem::directory_iterator()),
      1);
}

TEST(SystemUuid, OtherContentIsRefused) {
  const TemporaryDirectory directory;
  const std::string path = directory / "system_uuid";
  FileDescriptor file = open_file(path, O_WRONLY | O_CREAT, 0644);
  ASSERT_EQ(::write(file.get(), "hello\n", 6), 6);
  EXPECT_EQ(error_code_of([&] { load_or_create_system_uuid(path); }), EINVAL);
  EXPECT_EQ(error_code_of([&] { load_system_uuid(path); }), EINVAL);
}

TEST(SystemUuid, LoadingCreatesNothing) {
  const TemporaryDirectory directory;
  EXPECT_EQ(load_system_uuid(directory / "sub/system_uuid"), std::nullopt);
  EXPECT_FALSE(std::filesystem::exists(directory / "sub"));
  const Uuid uuid = load_or_create_system_uuid(directory / "system_uuid");
  EXPECT_EQ(load_system_uuid(directory / "system_uuid"), uuid);
}

TEST(SystemUuid, NameWithoutADirectoryIsInTheWorkingDirectory) {
  const TemporaryDirectory directory;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(directory.path());
  EXPECT_EQ(error_code_of([&] { load_or_create_system_uuid("system_uuid"); }), 0);
  std::filesystem::current_path(before);
  EXPECT_TRUE(std::filesystem::exists(directory / "system_uuid"));
}

TEST(SystemUuid, PathFromEnvironment) {
  ::setenv("FAMFS_SYSTEM_UUID_FILE", "/somewhere/else", 1);
  EXPECT_EQ(system_uuid_path(), "/somewhere/else");
  ::setenv("FAMFS_SYSTEM_UUID_FILE", "", 1);
  EXPECT_EQ(system_uuid_path(), "/opt/famfs/system_uuid");
  ::unsetenv("FAMFS_SYSTEM_UUID_FILE");
  EXPECT_EQ(system_uuid_path(), "/opt/famfs/system_uuid");
}

// Computed with an independent implementation of splitmix64 and xoroshiro128+ (55, 14, 36).
TEST(TestPattern, KnownWords) {
  TestPattern pattern(1);
  std::array<std::byte, 16> bytes;
  pattern.fill(bytes);
  EXPECT_EQ(load<uint32_t>(bytes, 0), 0xee914928U);
  EXPECT_EQ(load<uint32_t>(bytes, 4), 0x34fbb666U);
  EXPECT_EQ(load<uint32_t>(bytes, 8), 0x18ca873aU);
  EXPECT_EQ(load<uint32_t>(bytes, 12), 0x781744deU);
}

TEST(TestPattern, SamePiecewiseAsWhole) {
  std::vector<std::byte> whole(10007);
  TestPattern(7).fill(whole);
  std::vector<std::byte> pieces(whole.size());
  TestPattern pattern(7);
  for (size_t at = 0, length = 1; at < pieces.size(); at += length, ++length) {
    pattern.fill(std::span(pieces).subspan(at, std::min(length, pieces.size() - at)));
  }
  EXPECT_EQ(whole, pieces);
}

TEST(TestPattern, FindsTheFirstDifference) {
  std::vector<std::byte> data(9001);
  TestPattern(7).fill(data);
  EXPECT_EQ(TestPattern(7).first_difference(data), std::nullopt);
  data[8999] ^= std::byte{1};
  data[5000] ^= std::byte{1};
  EXPECT_EQ(TestPattern(7).first_difference(data), 5000U);
  EXPECT_EQ(TestPattern(8).first_difference(data), 0U);
}

TEST(Json, StringsAreEscaped) { EXPECT_EQ(json_string("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\""); }

}  // namespace
}  // namespace famfs::base
