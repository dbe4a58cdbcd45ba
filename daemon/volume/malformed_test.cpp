// SPDX-License-Identifier: Apache-2.0
// What we answer to malformed media: one row per way a medium can be wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <ostream>
#include <set>
#include <string>

#include "base/bytes.h"
#include "testing/example_volume.h"
#include "testing/temporary_directory.h"
#include "volume/check.h"

namespace famfs::volume {
namespace {

using ::famfs::testing::client_uuid;
using ::famfs::testing::error_code_of;
using ::famfs::testing::ExampleVolume;
using ::famfs::testing::kMiB;
using ::famfs::testing::RecordingMemory;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;

struct Row {
  const char* name;
  std::function<void(ExampleVolume&)> damage;
  // What check() reports.
  media::Area area;
  uint64_t index;  // of the log entry
  const char* field;
  const char* found;
  const char* allowed;
  // What a client's mount does: fails with this errno, or plays so many entries …
  int open_error;
  uint64_t played;
  // … and says why it stopped (false: plays to the end).
  bool stops;

  friend std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.name; }
};

constexpr auto kSuperblock = media::Area::kSuperblock;
constexpr auto kHeader = media::Area::kLogHeader;
constexpr auto kEntry = media::Area::kLogEntry;

std::vector<Row> rows() {
  const auto superblock = [](auto offset, auto value) {
    return [=](ExampleVolume& v) { v.patch_superblock(offset, value); };
  };
  const auto header = [](auto offset, auto value) {
    return [=](ExampleVolume& v) { v.patch_header(offset, value); };
  };
  const auto entry = [](uint64_t index, auto offset, auto value) {
    return [=](ExampleVolume& v) { v.patch_entry(index, offset, value); };
  };
  const auto path = [](std::string text) {
    return [=](ExampleVolume& v) { v.patch_path(2, text); };
  };
  const auto directory_path = [](const std::string& text) {
    return [=](ExampleVolume& v) {
      std::memset(v.entry(0).subspan(28, 80).data(), 0, 80);
      std::memcpy(v.entry(0).subspan(28, 80).data(), text.data(), text.size());
      v.patch_entry<uint32_t>(0, 8, 1);
    };
  };
  const auto two_extents = [](uint64_t offset, uint64_t length) {
    return [=](ExampleVolume& v) {
      v.patch_entry<uint64_t>(2, 168, offset);
      v.patch_entry<uint64_t>(2, 176, length);
      v.patch_entry<uint32_t>(2, 128, 2);
    };
  };
  const auto next = [](uint64_t seqnum, uint64_t index) {
    return [=](ExampleVolume& v) {
      v.patch_header<uint64_t>(32, seqnum);
      v.patch_header<uint64_t>(40, index);
    };
  };
  return {
      {"SuperblockMagic", superblock(0, uint64_t{0x1234}), kSuperblock, 0, "magic", "0x1234",
       "0x87b282ff", ENODATA, 0, false},
      {"Version46", superblock(8, uint64_t{46}), kSuperblock, 0, "version", "46", "47 to 48",
       EUCLEAN, 0, false},
      {"Version49", superblock(8, uint64_t{49}), kSuperblock, 0, "version", "49", "47 to 48",
       EUCLEAN, 0, false},
      {"SuperblockCrc", [](ExampleVolume& v) { v.raw(96, 1)[0] ^= std::byte{1}; }, kSuperblock, 0,
       "crc", "0x", "0x", EUCLEAN, 0, false},
      {"AllocUnit8192", superblock(32, uint64_t{8192}), kSuperblock, 0, "alloc_unit", "8192",
       "4096 or 2097152", EUCLEAN, 0, false},
      {"OmfMajor3", superblock(40, uint32_t{3}), kSuperblock, 0, "omf_ver_major", "3", "2", EUCLEAN,
       0, false},
      {"LogOffset", superblock(16, uint64_t{0x400000}), kSuperblock, 0, "log_offset", "4194304",
       "2097152", EUCLEAN, 0, false},
      {"LogLengthOdd", superblock(24, uint64_t{0x800001}), kSuperblock, 0, "log_len", "8388609",
       "power of two", EUCLEAN, 0, false},
      {"LogLengthBeyondDevice", superblock(24, uint64_t{1} << 63), kSuperblock, 0, "log_len",
       "9223372036854775808", "ends within", EUCLEAN, 0, false},
      {"DeviceSizeShrunkBelowExtents", superblock(112, 16 * kMiB), kEntry, 3,
       "fmap.ie[0].strips[0].offset", "", "daxdev.size", 0, 3, true},
      {"DeviceSizeBeyondDevice", superblock(112, uint64_t{1} << 40), kSuperblock, 0, "daxdev.size",
       "1099511627776", "4294967296", EUCLEAN, 0, false},
      {"DeviceSizeZero", superblock(112, uint64_t{0}), kSuperblock, 0, "daxdev.size", "0",
       "4294967296", EUCLEAN, 0, false},
      {"LogMagic", header(0, uint64_t{7}), kHeader, 0, "magic", "0x7", "0xbadcafef00d", EUCLEAN, 0,
       false},
      {"LogHeaderCrc",
       [](ExampleVolume& v) { v.raw(media::kLogOffset + 24, 1)[0] ^= std::byte{1}; }, kHeader, 0,
       "crc", "0x", "0x", EUCLEAN, 0, false},
      {"LogHeaderLength", header(8, uint64_t{16} << 20), kHeader, 0, "log_len", "16777216",
       "8388608", EUCLEAN, 0, false},
      {"NextIndexBeyondWrittenEntries", next(6, 6), kEntry, 4, "seqnum", "0", "4", 0, 4, true},
      {"NextIndexBeyondLastIndex", next(15421, 15421), kHeader, 0, "next_index", "15421",
       "0 to 15420", EUCLEAN, 0, false},
      {"NextIndexHuge", next(~uint64_t{0}, ~uint64_t{0}), kHeader, 0, "next_index",
       "18446744073709551615", "0 to 15420", EUCLEAN, 0, false},
      {"NextIndexShortened", next(2, 2), kHeader, 0, "next_index", "2", "4", 0, 2, false},
      {"NextSeqnumSkewed", next(9, 4), kHeader, 0, "next_seqnum", "9", "4", 0, 4, false},
      {"EntryCrc", [](ExampleVolume& v) { v.entry(2)[536] ^= std::byte{1}; }, kEntry, 2, "crc",
       "0x", "0x", 0, 2, true},
      {"EntrySeqnum", entry(2, 0, uint64_t{7}), kEntry, 2, "seqnum", "7", "2", 0, 2, true},
      {"TypeDelete", entry(2, 8, uint32_t{2}), kEntry, 2, "type", "2", "0, 1 or 3", 0, 4, false},
      {"TypeAddDaxdev", entry(2, 8, uint32_t{3}), kEntry, 2, "daxdev.index", "845557604", "1 to 23",
       0, 2, true},
      {"Type99", entry(2, 8, uint32_t{99}), kEntry, 2, "type", "99", "0, 1 or 3", 0, 4, false},
      {"ExtentOffsetZero", entry(2, 144, uint64_t{0}), kEntry, 2, "fmap.se[0].offset", "0",
       "10485760", 0, 2, true},
      {"ExtentInTheLog", entry(2, 144, 8 * kMiB), kEntry, 2, "fmap.se[0].offset", "8388608",
       "10485760", 0, 2, true},
      {"ExtentMisaligned", entry(2, 144, 14 * kMiB + 4096), kEntry, 2, "fmap.se[0].offset",
       "14684160", "multiple of 2097152", 0, 2, true},
      {"ExtentBeyondDevice", entry(2, 144, uint64_t{1} << 32), kEntry, 2, "fmap.se[0].offset",
       "4294967296", "below 4294967296", 0, 2, true},
      {"ExtentEndsBeyondDevice", entry(1, 144, (uint64_t{1} << 32) - 2 * kMiB), kEntry, 1,
       "fmap.se[0].len", "4194304", "to 2097152", 0, 1, true},
      {"ExtentLengthHuge", entry(2, 152, ~uint64_t{0} - 2 * kMiB + 1), kEntry, 2, "fmap.se[0].len",
       "18446744073707454464", "to 4280287232", 0, 2, true},
      {"ExtentLengthZero", entry(2, 152, uint64_t{0}), kEntry, 2, "fmap.se[0].len", "0", "2097152",
       0, 2, true},
      {"DeviceIndex3", entry(2, 136, uint64_t{3}), kEntry, 2, "fmap.se[0].devindex", "3", "0", 0, 2,
       true},
      {"OverlapsAnotherFile", entry(2, 144, 12 * kMiB), kEntry, 2, "fmap",
       "2097152 bytes at 12582912 of 'd/f2' that overlap 'd/f1'", "no file uses", 0, 2, true},
      {"SizeBeyondExtents", entry(2, 16, 2 * kMiB + 1), kEntry, 2, "size", "2097153",
       "1 to 2097152", 0, 2, true},
      {"SizeZero", entry(2, 16, uint64_t{0}), kEntry, 2, "size", "0", "1 or more", 0, 2, true},
      {"SizeBeyondStrips", entry(3, 16, 12 * kMiB + 1), kEntry, 3, "size", "12582913",
       "3 strips hold", 0, 3, true},
      {"Nextents17", entry(2, 128, uint32_t{17}), kEntry, 2, "fmap.nextents", "17", "1 to 16", 0, 2,
       true},
      {"NextentsMillion", entry(2, 128, uint32_t{1000000}), kEntry, 2, "fmap.nextents", "1000000",
       "1 to 16", 0, 2, true},
      {"NextentsZero", entry(2, 128, uint32_t{0}), kEntry, 2, "fmap.nextents", "0", "1 to 16", 0, 2,
       true},
      {"ExtentType7", entry(2, 120, uint32_t{7}), kEntry, 2, "fmap.ext_type", "7", "0 or 1", 0, 2,
       true},
      {"Nstrips40", entry(3, 136, uint64_t{40}), kEntry, 3, "fmap.ie[0].nstrips", "40", "1 to 16",
       0, 3, true},
      {"NstripsHuge", entry(3, 136, ~uint64_t{0}), kEntry, 3, "fmap.ie[0].nstrips",
       "18446744073709551615", "1 to 16", 0, 3, true},
      {"TwoInterleavedExtents", entry(3, 128, uint32_t{2}), kEntry, 3, "fmap.niext", "2", "1", 0, 3,
       true},
      {"ChunkSizeZero", entry(3, 144, uint64_t{0}), kEntry, 3, "fmap.ie[0].chunk_size", "0",
       "power of two", 0, 3, true},
      {"ChunkSizeOdd", entry(3, 144, 3 * kMiB), kEntry, 3, "fmap.ie[0].chunk_size", "3145728",
       "power of two", 0, 3, true},
      {"Mode", entry(2, 36, uint32_t{0100644}), kEntry, 2, "mode", "0100644", "07777", 0, 2, true},
      {"AbsolutePath", path("/etc/passwd"), kEntry, 2, "relpath", "absolute", "relative", 0, 2,
       true},
      {"EmptyPath", path(""), kEntry, 2, "relpath", "empty", "relative", 0, 2, true},
      {"PathWithDotDot", path("d/../../etc/f"), kEntry, 2, "relpath", "'..'", "without '..'", 0, 2,
       true},
      {"PathWithNulInside", path(std::string("d/f\0x", 5)), kEntry, 2, "relpath", "NUL inside",
       "NUL only after", 0, 2, true},
      {"PathWithoutNul", path("d/" + std::string(78, 'x')), kEntry, 2, "relpath", "80 bytes",
       "1 to 79", 0, 2, true},
      {"DuplicatePath", path("d/f1"), kEntry, 2, "relpath", "exists already", "no earlier", 0, 2,
       true},
      {"MissingParent", path("zz/f1"), kEntry, 2, "relpath", "does not exist", "earlier entry", 0,
       2, true},
      {"FileWhereADirectoryIsNeeded", path("d/f1/x"), kEntry, 2, "relpath", "below a file",
       "below a directory", 0, 2, true},
      {"LogLengthTooSmall", superblock(24, uint64_t{4} << 20), kSuperblock, 0, "log_len", "4194304",
       "from 8388608", EUCLEAN, 0, false},
      {"LogLengthZero", superblock(24, uint64_t{0}), kSuperblock, 0, "log_len", "0", "power of two",
       EUCLEAN, 0, false},
      {"AllocUnitZero", superblock(32, uint64_t{0}), kSuperblock, 0, "alloc_unit", "0",
       "4096 or 2097152", EUCLEAN, 0, false},
      {"DeviceSizeHoldsTheLogOnly", superblock(112, 10 * kMiB), kSuperblock, 0, "daxdev.size",
       "10485760", "more than 10485760", EUCLEAN, 0, false},
      {"LastIndexTooSmall", header(16, uint64_t{3}), kHeader, 0, "last_index", "3", "15419",
       EUCLEAN, 0, false},
      {"LastIndexTooLarge", header(16, uint64_t{15420}), kHeader, 0, "last_index", "15420", "15419",
       EUCLEAN, 0, false},
      {"SizeHuge", entry(2, 16, ~uint64_t{0}), kEntry, 2, "size", "18446744073709551615",
       "1 to 2097152", 0, 2, true},
      {"SizeHugeInterleaved", entry(3, 16, ~uint64_t{0}), kEntry, 3, "size", "18446744073709551615",
       "3 strips hold", 0, 3, true},
      {"ExtentLengthOdd", entry(2, 152, uint64_t{21}), kEntry, 2, "fmap.se[0].len", "21",
       "a multiple of 2097152", 0, 2, true},
      {"ExtentOffsetWraps", entry(2, 144, ~uint64_t{0} - 2 * kMiB + 1), kEntry, 2,
       "fmap.se[0].offset", "18446744073707454464", "below 4294967296", 0, 2, true},
      {"SecondExtentInTheLog", two_extents(2 * kMiB, 2 * kMiB), kEntry, 2, "fmap.se[1].offset",
       "2097152", "from 10485760", 0, 2, true},
      {"SecondExtentEmpty", two_extents(64 * kMiB, 0), kEntry, 2, "fmap.se[1].len", "0",
       "from 2097152", 0, 2, true},
      {"SecondExtentOverlapsTheFirst", two_extents(14 * kMiB, 2 * kMiB), kEntry, 2, "fmap",
       "2097152 bytes at 14680064 of 'd/f2' that overlap 'd/f2'", "no file uses", 0, 2, true},
      {"NiextZero", entry(3, 128, uint32_t{0}), kEntry, 3, "fmap.niext", "0", "1", 0, 3, true},
      {"NstripsZero", entry(3, 136, uint64_t{0}), kEntry, 3, "fmap.ie[0].nstrips", "0", "1 to 16",
       0, 3, true},
      {"ChunkSizeBelowAllocationUnit", entry(3, 144, uint64_t{4096}), kEntry, 3,
       "fmap.ie[0].chunk_size", "4096", "multiple of 2097152", 0, 3, true},
      {"ChunkSizeHuge", entry(3, 144, uint64_t{1} << 63), kEntry, 3, "size", "9000001",
       "3 strips hold", 0, 3, true},
      {"StripDeviceIndex", entry(3, 152, uint64_t{1}), kEntry, 3, "fmap.ie[0].strips[0].devindex",
       "1", "0, the only device", 0, 3, true},
      {"StripOffsetZero", entry(3, 160, uint64_t{0}), kEntry, 3, "fmap.ie[0].strips[0].offset", "0",
       "from 10485760", 0, 3, true},
      {"StripMisaligned", entry(3, 184, uint64_t{64} * kMiB + 512), kEntry, 3,
       "fmap.ie[0].strips[1].offset", "67109376", "multiple of 2097152", 0, 3, true},
      {"StripBeyondDevice", entry(3, 208, uint64_t{1} << 40), kEntry, 3,
       "fmap.ie[0].strips[2].offset", "1099511627776", "below 4294967296", 0, 3, true},
      {"StripLengthZero", entry(3, 168, uint64_t{0}), kEntry, 3, "fmap.ie[0].strips[0].len", "0",
       "from 2097152", 0, 3, true},
      {"StripLengthHuge", entry(3, 216, ~uint64_t{0} - 2 * kMiB + 1), kEntry, 3,
       "fmap.ie[0].strips[2].len", "18446744073707454464", "daxdev.size", 0, 3, true},
      {"StripTooShort", entry(3, 192, 2 * kMiB), kEntry, 3, "size", "9000001",
       "strips[1] has 2097152", 0, 3, true},
      {"StripOverlapsAFile", entry(3, 160, 10 * kMiB), kEntry, 3, "fmap", "that overlap 'd/f1'",
       "no file uses", 0, 3, true},
      {"StripsOverlapEachOther",
       [](ExampleVolume& v) {
         v.patch_entry<uint64_t>(3, 184, base::load<uint64_t>(v.entry(3), 160));
       },
       kEntry, 3, "fmap", "that overlap 'striped'", "no file uses", 0, 3, true},
      {"ModeHuge", entry(2, 36, ~uint32_t{0}), kEntry, 2, "mode", "037777777777", "07777", 0, 2,
       true},
      {"DirectoryMode", entry(0, 24, uint32_t{040755}), kEntry, 0, "mode", "040755", "07777", 0, 0,
       true},
      {"PathWithDot", path("d/./f"), kEntry, 2, "relpath", "'.'", "relative", 0, 2, true},
      {"PathWithEmptyComponent", path("d//f"), kEntry, 2, "relpath", "empty component", "relative",
       0, 2, true},
      {"PathEndsWithSlash", path("d/"), kEntry, 2, "relpath", "empty component", "relative", 0, 2,
       true},
      {"FileReplacesADirectory", path("d"), kEntry, 2, "relpath", "exists already", "no earlier", 0,
       2, true},
      {"DirectoryWithoutName", directory_path(""), kEntry, 0, "relpath", "empty", "relative", 0, 0,
       true},
      {"DirectoryWithDotDot", directory_path("../d"), kEntry, 0, "relpath", "'..'", "without '..'",
       0, 0, true},
      {"DirectoryAbsolute", directory_path("/d"), kEntry, 0, "relpath", "absolute", "relative", 0,
       0, true},
      {"DirectoryWithoutParent", directory_path("zz/d"), kEntry, 0, "relpath", "does not exist",
       "earlier entry", 0, 0, true},
      {"DirectoryWithoutNul", directory_path(std::string(80, 'x')), kEntry, 0, "relpath",
       "80 bytes", "1 to 79", 0, 0, true},
  };
}

class Malformed : public ::testing::TestWithParam<Row> {};

TEST_P(Malformed, IsReportedAndChangesNothing) {
  const Row& row = GetParam();
  ExampleVolume example;
  row.damage(example);
  const auto before = example.raw(0, media::kLogOffset + uint64_t{64} * 1024);
  const std::vector<std::byte> copy(before.begin(), before.end());

  RecordingMemory memory(example.bytes(), false);
  // So many buckets that a small device has none of a whole unit.
  const CheckReport report =
      check(memory, {.system_uuid = client_uuid(), .nbuckets = alloc::kMaxBuckets});
  const std::string text = format_report(report, {.verbose = true, .human = true});
  EXPECT_FALSE(report.clean());
  EXPECT_THAT(text, HasSubstr("errors found"));
  EXPECT_THAT(report.findings,
              Contains(AllOf(Field(&media::Finding::area, row.area),
                             Field(&media::Finding::index, row.index),
                             Field(&media::Finding::field, row.field),
                             Field(&media::Finding::found, HasSubstr(row.found)),
                             Field(&media::Finding::allowed, HasSubstr(row.allowed)))))
      << text;
  EXPECT_LE(report.used, media::kMinimumDeviceSize);

  // A client's mount.
  const auto open = [&] { return example.open(client_uuid()); };
  EXPECT_EQ(error_code_of(open), row.open_error);
  if (row.open_error == 0) {
    const auto volume = open();
    EXPECT_EQ(volume->last_refresh().entries, row.played);
    EXPECT_EQ(volume->last_refresh().stopped.has_value(), row.stops);
    EXPECT_EQ(volume->refresh().entries, 0U);
  }
  // The dry run plays as the mount does.
  ReplayReport played;
  EXPECT_EQ(error_code_of([&] { played = replay(memory); }), row.open_error);
  EXPECT_EQ(played.entries, row.played);
  EXPECT_EQ(played.stopped.has_value(), row.stops);

  EXPECT_TRUE(std::equal(copy.begin(), copy.end(), before.begin()));
}

TEST_P(Malformed, MasterAppendsNothingBehindDamage) {
  const Row& row = GetParam();
  if (!row.stops) return;
  ExampleVolume example;
  row.damage(example);
  const auto volume = example.open(::famfs::testing::master_uuid());
  EXPECT_EQ(error_code_of([&] { volume->make_directory(::famfs::testing::a_directory("new")); }),
            EUCLEAN);
}

INSTANTIATE_TEST_SUITE_P(Media, Malformed, ::testing::ValuesIn(rows()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(MalformedRows, AreMoreThanSixtyKindsOfOneField) {
  std::set<std::string> names;
  for (const Row& row : rows()) names.insert(row.name);
  EXPECT_EQ(names.size(), rows().size());
  EXPECT_GE(names.size(), 60U);
}

TEST(WellFormed, Version47IsRead) {
  ExampleVolume example;
  example.patch_superblock(8, uint64_t{47});
  example.patch_superblock(44, uint32_t{1});
  RecordingMemory memory(example.bytes(), false);
  EXPECT_TRUE(check(memory, {}).clean());
  EXPECT_EQ(example.open(client_uuid())->last_refresh().entries, 4U);
}

TEST(WellFormed, DeviceTooSmallForASuperblock) {
  RecordingMemory memory(64);
  EXPECT_FALSE(check(memory, {}).clean());
  EXPECT_EQ(error_code_of([&] { load_superblock(memory); }), ENODATA);
}

}  // namespace
}  // namespace famfs::volume
