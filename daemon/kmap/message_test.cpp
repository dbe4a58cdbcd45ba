// SPDX-License-Identifier: Apache-2.0
// Contract: no message makes the code look behind its end, and only what is meant is changed.
#include "kmap/message.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "kmap/uapi.h"

namespace famfs::kmap {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Bytes on the heap with exactly this size, so that a sanitizer sees what lies behind.
template <typename... Parts>
std::vector<std::byte> message(const Parts&... parts) {
  std::vector<std::byte> all;
  const auto add = [&all](std::span<const std::byte> bytes) {
    all.insert(all.end(), bytes.begin(), bytes.end());
  };
  (add(bytes_of(parts)), ...);
  const auto length = static_cast<std::uint32_t>(all.size());
  if (all.size() >= sizeof(length)) std::memcpy(all.data(), &length, sizeof(length));
  all.shrink_to_fit();
  return all;
}

uapi::InHeader request(std::uint32_t opcode, std::uint16_t extensions = 0) {
  uapi::InHeader header{};
  header.opcode = opcode;
  header.unique = 77;
  header.nodeid = 5;
  header.total_extlen = extensions;
  return header;
}

template <typename T>
T at(std::span<const std::byte> bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.subspan(offset, sizeof(T)).data(), sizeof(T));
  return value;
}

TEST(ParseRequest, HeaderAndBody) {
  const auto bytes = message(request(uapi::kGetFmap), std::uint64_t{4711});
  const auto parsed = parse_request(bytes);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->opcode, uapi::kGetFmap);
  EXPECT_EQ(parsed->unique, 77U);
  EXPECT_EQ(parsed->node, 5U);
  EXPECT_EQ(parsed->body.size(), 8U);
  EXPECT_EQ(at<std::uint64_t>(parsed->body, 0), 4711U);
}

TEST(ParseRequest, EveryTruncationIsRefused) {
  const auto whole = message(request(uapi::kInit), uapi::InitIn{});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::vector<std::byte> part(whole.begin(),
                                      whole.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(parse_request(part)) << size;
  }
}

TEST(ParseRequest, ExtensionsAreNotBody) {
  const auto bytes = message(request(uapi::kOpen, 1), std::uint64_t{1}, std::uint64_t{2});
  ASSERT_TRUE(parse_request(bytes));
  EXPECT_EQ(parse_request(bytes)->body.size(), 8U);
  EXPECT_FALSE(parse_request(message(request(uapi::kOpen, 2), std::uint64_t{1})));
  EXPECT_FALSE(parse_request(message(request(uapi::kOpen, 0xffff))));
}

TEST(UniqueOfReply, OnlyOfReplies) {
  uapi::OutHeader header{16, 0, 9};
  std::array<iovec, 1> parts{iovec{&header, sizeof(header)}};
  EXPECT_EQ(unique_of_reply(parts), 9U);
  header.unique = 0;  // a notification
  EXPECT_EQ(unique_of_reply(parts), std::nullopt);
  header.unique = 9;
  parts[0].iov_len = sizeof(header) - 1;
  EXPECT_EQ(unique_of_reply(parts), std::nullopt);
  EXPECT_EQ(unique_of_reply({}), std::nullopt);
}

TEST(Join, WithinTheLimit) {
  std::array<char, 3> one{'a', 'b', 'c'};
  std::array<char, 2> two{'d', 'e'};
  const std::array<iovec, 2> parts{iovec{one.data(), 3}, iovec{two.data(), 2}};
  EXPECT_THAT(join(parts, 5), ElementsAre(std::byte{'a'}, std::byte{'b'}, std::byte{'c'},
                                          std::byte{'d'}, std::byte{'e'}));
  EXPECT_THAT(join(parts, 4), IsEmpty());
}

TEST(EditInitReply, AddsFlagsAndDepth) {
  uapi::InitOut out{};
  out.flags = 8;
  out.max_write = 1234;
  auto bytes = message(uapi::OutHeader{0, 0, 1}, out);
  ASSERT_TRUE(edit_init_reply(bytes, init_answer(Protocol::kExtentMap)));
  const auto edited = at<uapi::InitOut>(bytes, 16);
  EXPECT_EQ(edited.flags, 8U | 1U << 30);
  EXPECT_EQ(edited.flags2, 1U << 5 | 1U << 13);
  EXPECT_EQ(edited.max_stack_depth, 1U);
  EXPECT_EQ(edited.max_write, 1234U);
}

TEST(EditInitReply, FmapAddsItsFlagAlone) {
  uapi::InitOut out{};
  out.max_stack_depth = 2;
  auto bytes = message(uapi::OutHeader{0, 0, 1}, out);
  ASSERT_TRUE(edit_init_reply(bytes, init_answer(Protocol::kFmap)));
  EXPECT_EQ(at<uapi::InitOut>(bytes, 16).flags2, 1U << 30);
  EXPECT_EQ(at<uapi::InitOut>(bytes, 16).max_stack_depth, 2U);
}

TEST(EditInitReply, LeavesErrorsAndShortOnesAlone) {
  auto refused = message(uapi::OutHeader{0, -71, 1}, uapi::InitOut{});
  const auto before = refused;
  EXPECT_FALSE(edit_init_reply(refused, init_answer(Protocol::kFmap)));
  EXPECT_EQ(refused, before);
  const auto whole = message(uapi::OutHeader{0, 0, 1}, uapi::InitOut{});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    std::vector<std::byte> part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const auto untouched = part;
    EXPECT_FALSE(edit_init_reply(part, init_answer(Protocol::kFmap))) << size;
    EXPECT_EQ(part, untouched);
  }
}

TEST(GrowOpenReply, NamesTheBackingObject) {
  auto bytes =
      message(uapi::OutHeader{0, 0, 3}, std::uint64_t{42}, std::uint32_t{2}, std::int32_t{0});
  ASSERT_TRUE(grow_open_reply(bytes, 0x1122334455667788));
  ASSERT_EQ(bytes.size(), 40U);
  EXPECT_EQ(at<std::uint32_t>(bytes, 0), 40U);
  const auto out = at<uapi::OpenOut>(bytes, 16);
  EXPECT_EQ(out.fh, 42U);
  EXPECT_EQ(out.open_flags, 2U | uapi::kFopenPassthrough);
  EXPECT_EQ(out.backing_id, 0);
  EXPECT_EQ(out.backing_id_64, 0x1122334455667788U);
}

TEST(GrowOpenReply, LeavesErrorsAndOtherSizesAlone) {
  auto refused = message(uapi::OutHeader{0, -2, 3}, std::uint64_t{0}, std::uint64_t{0});
  EXPECT_FALSE(grow_open_reply(refused, 5));
  EXPECT_EQ(refused.size(), 32U);
  auto grown = message(uapi::OutHeader{0, 0, 3}, uapi::OpenOut{});
  EXPECT_FALSE(grow_open_reply(grown, 5));
  auto bare = message(uapi::OutHeader{0, 0, 3});
  EXPECT_FALSE(grow_open_reply(bare, 5));
  std::vector<std::byte> nothing;
  EXPECT_FALSE(grow_open_reply(nothing, 5));
}

class Sending : public testing::Test {
 protected:
  void SetUp() override {
    std::array<int, 2> ends{};
    ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    reader_ = base::FileDescriptor(ends[0]);
    writer_ = base::FileDescriptor(ends[1]);
  }
  std::vector<std::byte> received() {
    std::vector<std::byte> buffer(4096);
    const ssize_t length = read(reader_.get(), buffer.data(), buffer.size());
    buffer.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
    return buffer;
  }
  base::FileDescriptor reader_;
  base::FileDescriptor writer_;
};

TEST_F(Sending, ReplyWithBody) {
  const std::uint32_t body = 99;
  EXPECT_EQ(send_reply(writer_.get(), 7, 0, bytes_of(body)), 0);
  EXPECT_EQ(received(), message(uapi::OutHeader{0, 0, 7}, body));
}

TEST_F(Sending, ErrorHasNoBody) {
  const std::uint32_t body = 99;
  EXPECT_EQ(send_reply(writer_.get(), 7, ESTALE, bytes_of(body)), 0);
  EXPECT_EQ(received(), message(uapi::OutHeader{0, -ESTALE, 7}));
}

TEST_F(Sending, NotificationHasNoUniqueNumber) {
  send_notification(writer_.get(), uapi::kNotifyBackingRemove, bytes_of(uapi::BackingRemove{12, 0}),
                    "a test");
  EXPECT_EQ(received(), message(uapi::OutHeader{0, 10, 0}, uapi::BackingRemove{12, 0}));
}

TEST_F(Sending, RefusedNotificationIsAnError) {
  writer_.reset();
  EXPECT_THROW(send_notification(-1, 10, bytes_of(uapi::BackingRemove{12, 0}), "a test"),
               base::Error);
}

}  // namespace
}  // namespace famfs::kmap
