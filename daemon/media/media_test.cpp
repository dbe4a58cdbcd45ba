// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/bytes.h"
#include "base/crc32.h"
#include "media/extent_check.h"
#include "media/log_entry.h"
#include "media/log_header.h"
#include "media/path.h"
#include "media/superblock.h"
#include "testing/temporary_directory.h"

namespace famfs::media {
namespace {

using ::famfs::testing::error_code_of;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;

constexpr uint64_t kMiB = 1024ull * 1024;

Superblock example() {
  Superblock superblock;
  superblock.fs_uuid = *base::Uuid::parse("3685e71f-ab37-4089-94b5-3e949cf8fd40");
  superblock.device_uuid = base::Uuid::random();
  superblock.system_uuid = *base::Uuid::parse("11111111-2222-3333-4444-555555555555");
  superblock.device_size = kMinimumDeviceSize;
  superblock.device_name = "/dev/dax0.0";
  return superblock;
}

FileEntry example_file() {
  FileEntry file;
  file.path = "docs/lines.txt";
  file.size = 2688895;
  file.mode = 0644;
  file.map.extents = {{0, 10 * kMiB, 4 * kMiB}};
  return file;
}

FileEntry example_striped() {
  FileEntry file = example_file();
  file.size = 9000001;
  file.map.chunk_size = 2 * kMiB;
  file.map.extents = {
      {0, 1024 * kMiB, 4 * kMiB}, {0, 2048 * kMiB, 4 * kMiB}, {0, 3072 * kMiB, 4 * kMiB}};
  return file;
}

auto damage(const std::string& field, const std::string& found) {
  return Contains(AllOf(Field(&Finding::severity, Severity::kDamage), Field(&Finding::field, field),
                        Field(&Finding::found, found)));
}

TEST(Superblock, LayoutIsTheFormats) {
  const Superblock superblock = example();
  const auto bytes = encode(superblock);
  const std::span<const std::byte> view(bytes);
  EXPECT_EQ(base::load<uint64_t>(view, 0), 0x87b282ffU);
  EXPECT_EQ(base::load<uint64_t>(view, 8), 48U);
  EXPECT_EQ(base::load<uint64_t>(view, 16), 0x200000U);
  EXPECT_EQ(base::load<uint64_t>(view, 24), 0x800000U);
  EXPECT_EQ(base::load<uint64_t>(view, 32), 0x200000U);
  EXPECT_EQ(base::load<uint32_t>(view, 40), 2U);
  EXPECT_EQ(base::load<uint32_t>(view, 44), 2U);
  EXPECT_EQ(view[48], std::byte{0x36});
  EXPECT_EQ(view[80], std::byte{0x11});
  EXPECT_EQ(base::load<uint64_t>(view, 96), base::crc32(view.first(96)));
  EXPECT_EQ(base::load<uint64_t>(view, 112), kMinimumDeviceSize);
  EXPECT_STREQ(reinterpret_cast<const char*>(&bytes[136]), "/dev/dax0.0");
}

TEST(Superblock, DecodesWhatItEncodes) {
  const Superblock superblock = example();
  const auto decoded = decode_superblock(encode(superblock), kMinimumDeviceSize);
  EXPECT_THAT(decoded.findings, ElementsAre());
  EXPECT_EQ(decoded.value, superblock);
}

TEST(Superblock, NameOf64BytesHasNoNul) {
  Superblock superblock = example();
  superblock.device_name.assign(100, 'n');
  const auto decoded = decode_superblock(encode(superblock), kMinimumDeviceSize);
  ASSERT_TRUE(decoded.value);
  EXPECT_EQ(decoded.value->device_name, std::string(64, 'n'));
}

TEST(Superblock, ReadsVersion47) {
  Superblock superblock = example();
  superblock.version = 47;
  superblock.omf_minor = 1;
  EXPECT_EQ(decode_superblock(encode(superblock), kMinimumDeviceSize).value, superblock);
}

TEST(Superblock, ShortInputIsAFinding) {
  EXPECT_THAT(decode_superblock({}, kMinimumDeviceSize).findings, damage("length", "0 bytes"));
}

TEST(Superblock, EveryFlippedBitUnderTheCrcIsFound) {
  const auto good = encode(example());
  for (size_t bit = 0; bit < size_t{104} * 8; ++bit) {
    auto bytes = good;
    bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    EXPECT_FALSE(decode_superblock(bytes, kMinimumDeviceSize).value) << "bit " << bit;
  }
}

TEST(Superblock, IdentityIsMagicAndUuid) {
  const Superblock superblock = example();
  auto bytes = encode(superblock);
  EXPECT_TRUE(is_same_file_system(bytes, superblock.fs_uuid));
  EXPECT_TRUE(is_same_file_system(std::span(bytes).first(64), superblock.fs_uuid));
  EXPECT_FALSE(is_same_file_system(bytes, base::Uuid::random()));
  EXPECT_FALSE(is_same_file_system(std::span(bytes).first(63), superblock.fs_uuid));
  bytes[0] = std::byte{0};
  EXPECT_FALSE(is_same_file_system(bytes, superblock.fs_uuid));
}

TEST(LogHeader, LayoutIsTheFormats) {
  const auto bytes = encode(LogHeader{.next_seqnum = 5, .next_index = 5});
  const std::span<const std::byte> view(bytes);
  EXPECT_EQ(base::load<uint64_t>(view, 0), 0xbadcafef00dU);
  EXPECT_EQ(base::load<uint64_t>(view, 8), 0x800000U);
  EXPECT_EQ(base::load<uint64_t>(view, 16), 15419U);
  EXPECT_EQ(base::load<uint64_t>(view, 24), base::crc32(view.first(24)));
  EXPECT_EQ(base::load<uint64_t>(view, 32), 5U);
  EXPECT_EQ(base::load<uint64_t>(view, 40), 5U);
}

TEST(LogHeader, LastIndexPerLogLength) {
  EXPECT_EQ(log_capacity(8 * kMiB), 15420U);
  EXPECT_EQ(log_capacity(16 * kMiB), 30840U);
  EXPECT_EQ(log_capacity(64 * kMiB), 123361U);
  EXPECT_EQ(log_capacity(256 * kMiB), 493447U);
}

TEST(LogHeader, DecodesWhatItEncodes) {
  const LogHeader header{.next_seqnum = 15420, .next_index = 15420};
  const auto decoded = decode_log_header(encode(header), kMinimumLogLength);
  EXPECT_THAT(decoded.findings, ElementsAre());
  EXPECT_EQ(decoded.value, header);
}

TEST(LogHeader, SkewIsANoticeOnly) {
  const auto decoded =
      decode_log_header(encode(LogHeader{.next_seqnum = 6, .next_index = 5}), kMinimumLogLength);
  ASSERT_TRUE(decoded.value);
  ASSERT_EQ(decoded.findings.size(), 1U);
  EXPECT_EQ(decoded.findings[0].severity, Severity::kNotice);
  EXPECT_EQ(to_string(decoded.findings[0]),
            "log header: next_seqnum is 6; allowed: 5, equal to next_index");
}

TEST(LogHeader, MustAgreeWithTheSuperblock) {
  const auto bytes = encode(LogHeader{});
  EXPECT_THAT(decode_log_header(bytes, 16 * kMiB).findings, damage("log_len", "8388608"));
  EXPECT_THAT(decode_log_header(bytes, 16 * kMiB).findings, damage("last_index", "15419"));
  EXPECT_THAT(decode_log_header({}, 8 * kMiB).findings, damage("length", "0 bytes"));
}

TEST(LogEntry, FileLayoutIsTheFormats) {
  FileEntry file = example_file();
  file.uid = 1001;
  file.gid = 1002;
  const auto bytes = encode({7, file});
  const std::span<const std::byte> view(bytes);
  EXPECT_EQ(base::load<uint64_t>(view, 0), 7U);
  EXPECT_EQ(base::load<uint32_t>(view, 8), 0U);
  EXPECT_EQ(base::load<uint64_t>(view, 16), 2688895U);
  EXPECT_EQ(base::load<uint32_t>(view, 24), 2U);
  EXPECT_EQ(base::load<uint32_t>(view, 28), 1001U);
  EXPECT_EQ(base::load<uint32_t>(view, 32), 1002U);
  EXPECT_EQ(base::load<uint32_t>(view, 36), 0644U);
  EXPECT_STREQ(reinterpret_cast<const char*>(&bytes[40]), "docs/lines.txt");
  EXPECT_EQ(base::load<uint32_t>(view, 120), 0U);
  EXPECT_EQ(base::load<uint32_t>(view, 128), 1U);
  EXPECT_EQ(base::load<uint64_t>(view, 136), 0U);
  EXPECT_EQ(base::load<uint64_t>(view, 144), 10 * kMiB);
  EXPECT_EQ(base::load<uint64_t>(view, 152), 4 * kMiB);
  EXPECT_EQ(base::load<uint64_t>(view, 536), base::crc32(view.first(536)));
}

TEST(LogEntry, InterleavedLayoutIsTheFormats) {
  const auto bytes = encode({0, example_striped()});
  const std::span<const std::byte> view(bytes);
  EXPECT_EQ(base::load<uint32_t>(view, 120), 1U);
  EXPECT_EQ(base::load<uint32_t>(view, 128), 1U);
  EXPECT_EQ(base::load<uint64_t>(view, 136), 3U);
  EXPECT_EQ(base::load<uint64_t>(view, 144), 2 * kMiB);
  EXPECT_EQ(base::load<uint64_t>(view, 152), 0U);
  EXPECT_EQ(base::load<uint64_t>(view, 160), 1024 * kMiB);
  EXPECT_EQ(base::load<uint64_t>(view, 168), 4 * kMiB);
  EXPECT_EQ(base::load<uint64_t>(view, 184), 2048 * kMiB);
}

TEST(LogEntry, DirectoryLayoutIsTheFormats) {
  const auto bytes = encode({3, DirectoryEntry{"docs", 1, 2, 0755}});
  const std::span<const std::byte> view(bytes);
  EXPECT_EQ(base::load<uint32_t>(view, 8), 1U);
  EXPECT_EQ(base::load<uint32_t>(view, 16), 1U);
  EXPECT_EQ(base::load<uint32_t>(view, 20), 2U);
  EXPECT_EQ(base::load<uint32_t>(view, 24), 0755U);
  EXPECT_STREQ(reinterpret_cast<const char*>(&bytes[28]), "docs");
}

TEST(LogEntry, DecodesWhatItEncodes) {
  FileEntry sixteen = example_file();
  sixteen.map.extents.clear();
  for (uint64_t i = 0; i < 16; ++i)
    sixteen.map.extents.push_back({0, (20 + 4 * i) * kMiB, 2 * kMiB});
  FileEntry longest = example_file();
  longest.path.assign(79, 'p');
  for (const EntryBody& body :
       std::vector<EntryBody>{example_file(), example_striped(), sixteen, longest,
                              DirectoryEntry{"a/b/c", 1, 2, 0700}}) {
    const auto decoded = decode_log_entry(encode({9, body}), 9, example());
    EXPECT_THAT(decoded.findings, ElementsAre());
    EXPECT_EQ(decoded.value, (LogEntry{9, body}));
  }
}

TEST(LogEntry, DevicesRoundTripWithinLimits) {
  const auto decoded_of = [](uint64_t size, uint32_t index) {
    const EntryBody body = DaxDeviceEntry{size, base::Uuid::random(), index};
    const auto decoded = decode_log_entry(encode({0, body}), 0, example());
    if (decoded.value) {
      EXPECT_EQ(decoded.value, (LogEntry{0, body}));
    }
    return decoded.findings.empty() ? "" : decoded.findings.front().field;
  };
  EXPECT_EQ(decoded_of(4 << 20, 1), "");
  EXPECT_EQ(decoded_of(UINT64_MAX, 23), "");
  EXPECT_EQ(decoded_of(4 << 20, 0), "daxdev.index");
  EXPECT_EQ(decoded_of(4 << 20, 24), "daxdev.index");
  EXPECT_EQ(decoded_of((4 << 20) - 1, 1), "daxdev.size");
}

TEST(LogEntry, ExtentsOnFurtherDevices) {
  FileEntry file = example_file();
  const auto field_of = [&](Extent extent) {
    file.map.extents = {extent};
    const auto findings = validate(file, 0, example());
    return findings.empty() ? "" : findings.front().field;
  };
  const uint64_t unit = kAllocationUnit;
  const uint64_t length = file.map.extents.front().length;
  EXPECT_EQ(field_of({1, unit, length}), "");
  EXPECT_EQ(field_of({23, uint64_t{1} << 62, length}), "");
  EXPECT_EQ(field_of({24, unit, length}), "fmap.se[0].devindex");
  EXPECT_EQ(field_of({1, 0, length}), "fmap.se[0].offset");
  EXPECT_EQ(field_of({1, unit + 4096, length}), "fmap.se[0].offset");
  EXPECT_EQ(field_of({1, ~uint64_t{0} - 2 * unit + 1, 2 * unit}), "fmap.se[0].len");

  const std::vector<uint64_t> sizes{10 * unit, 4 * unit};
  const auto wrong = [&](Extent extent) {
    std::string field;
    check_devices(
        {0, {{0, 99 * unit, unit}, extent}}, sizes,
        [&](std::string name, const std::string&, const std::string&) { field = std::move(name); });
    return field;
  };
  EXPECT_EQ(wrong({1, 9 * unit, unit}), "");
  EXPECT_EQ(wrong({2, 3 * unit, unit}), "");
  EXPECT_EQ(wrong({2, 3 * unit, 2 * unit}), "fmap.se[1].len");
  EXPECT_EQ(wrong({2, uint64_t{1} << 63, unit}), "fmap.se[1].len");
  EXPECT_EQ(wrong({3, unit, unit}), "fmap.se[1].devindex");
}

TEST(SecondaryBlock, IsToldFromASuperblock) {
  const SecondaryBlock block{
      kAllocationUnit, base::Uuid::random(), base::Uuid::random(), base::Uuid::random(),
      4 << 20,         "/dev/dax1.0"};
  auto bytes = encode(block);
  EXPECT_EQ(decode_secondary(bytes, 4 << 20).value, block);
  EXPECT_TRUE(is_same_file_system(bytes, block.fs_uuid));
  const auto as_first = decode_superblock(bytes, 8ull << 30);
  EXPECT_FALSE(as_first.value);
  EXPECT_EQ(as_first.findings.front().field, "sb_flags");
  EXPECT_FALSE(decode_secondary(bytes, (4 << 20) - 1).value);
  EXPECT_FALSE(decode_secondary(std::span(bytes).first(199), 4 << 20).value);
  for (size_t bit = 0; bit < size_t{104} * 8; ++bit) {
    auto damaged = bytes;
    damaged[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    EXPECT_FALSE(decode_secondary(damaged, 4 << 20).value) << "bit " << bit;
  }
  EXPECT_FALSE(decode_secondary(encode(example()), 8ull << 30).value);
  // A file system on one device is as the reference writes it.
  const auto first = encode(example());
  EXPECT_EQ(base::load<uint32_t>(first, 104), 0U);
}

TEST(LogEntry, TypesWeDoNotUseAreNotices) {
  for (const EntryBody& body :
       std::vector<EntryBody>{UnknownEntry{2}, UnknownEntry{4}, UnknownEntry{99}}) {
    const auto decoded = decode_log_entry(encode({0, body}), 0, example());
    EXPECT_EQ(decoded.value, (LogEntry{0, body}));
    ASSERT_EQ(decoded.findings.size(), 1U);
    EXPECT_EQ(decoded.findings[0].severity, Severity::kNotice);
    EXPECT_EQ(decoded.findings[0].field, "type");
  }
}

TEST(LogEntry, EveryFlippedBitIsFound) {
  const auto good = encode({3, example_file()});
  for (size_t bit = 0; bit < kLogEntrySize * 8; ++bit) {
    auto bytes = good;
    bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    EXPECT_FALSE(decode_log_entry(bytes, 3, example()).value) << "bit " << bit;
    EXPECT_FALSE(is_intact(bytes, 3)) << "bit " << bit;
  }
  EXPECT_TRUE(is_intact(good, 3));
  EXPECT_FALSE(is_intact(good, 4));
}

TEST(LogEntry, ShortInputIsAFinding) {
  EXPECT_THAT(decode_log_entry({}, 0, example()).findings, damage("length", "0 bytes"));
}

TEST(LogEntry, EncodeRefusesWhatDoesNotFit) {
  FileEntry file = example_file();
  file.path.assign(80, 'p');
  EXPECT_EQ(error_code_of([&] { encode({0, file}); }), EINVAL);
  file = example_file();
  file.map.extents.assign(17, {0, 10 * kMiB, 2 * kMiB});
  EXPECT_EQ(error_code_of([&] { encode({0, file}); }), EINVAL);
  file.map.extents.clear();
  EXPECT_EQ(error_code_of([&] { encode({0, file}); }), EINVAL);
}

TEST(LogEntry, ChecksTheWholeMapWithoutWrapping) {
  FileEntry file = example_file();
  file.map.extents = {{0, 10 * kMiB, ~uint64_t{0} - 2 * kMiB + 1}};
  EXPECT_THAT(validate(file, 0, example()), damage("fmap.se[0].len", "18446744073707454464"));
  file = example_striped();
  file.map.chunk_size = uint64_t{1} << 63;
  EXPECT_THAT(validate(file, 0, example()), damage("size", "9000001"));
  file = example_striped();
  file.size = ~uint64_t{0};
  EXPECT_THAT(validate(file, 0, example()), damage("size", "18446744073709551615"));
  file = example_striped();
  file.size = 12 * kMiB;
  EXPECT_THAT(validate(file, 0, example()), ElementsAre());
  ++file.size;
  EXPECT_THAT(validate(file, 0, example()), damage("size", "12582913"));
}

TEST(Path, WhatIsAllowed) {
  for (const char* path : {"a", "a/b", "..a", "a../b", ".hidden", "a b", "\xc3\xa9"}) {
    EXPECT_EQ(path_problem(path), std::nullopt) << path;
  }
  EXPECT_EQ(path_problem(std::string(79, 'x')), std::nullopt);
}

TEST(Path, WhatIsRefused) {
  for (const char* path :
       {"", "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/../b", "a/."}) {
    EXPECT_NE(path_problem(path), std::nullopt) << path;
  }
  EXPECT_NE(path_problem(std::string(80, 'x')), std::nullopt);
  EXPECT_NE(path_problem(std::string_view("a\0b", 3)), std::nullopt);
}

TEST(Path, Printable) { EXPECT_EQ(printable("a\n\x7f\xff"), "a\\x0a\\x7f\\xff"); }

}  // namespace
}  // namespace famfs::media
