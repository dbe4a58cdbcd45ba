// SPDX-License-Identifier: Apache-2.0
#include "cli/alloc_config.h"

#include <gtest/gtest.h>

#include <string>

#include "testing/temporary_directory.h"

namespace famfs::cli {
namespace {

using ::famfs::testing::error_code_of;

TEST(AllocConfig, TakesWhatTheReferenceWrites) {
  const Interleave got =
      parse_alloc_config("interleaved_alloc:\n  nbuckets: 8\n  nstrips: 6\n  chunk_size: 4m\n");
  EXPECT_EQ(got.buckets, 8U);
  EXPECT_EQ(got.strips, 6U);
  EXPECT_EQ(got.chunk_size, 4U << 20);
  EXPECT_EQ(parse_alloc_config("interleaved_alloc: {nstrips: 3}").strips, 3U);
  EXPECT_EQ(parse_alloc_config("interleaved_alloc: {nstrips: 3}").chunk_size, 2U << 20);
}

TEST(AllocConfig, NothingIsNoInterleaving) {
  for (const char* text : {"", "# only a comment\n", "---\n"}) {
    EXPECT_EQ(parse_alloc_config(text).strips, 0U) << text;
  }
}

TEST(AllocConfig, EndsAtTheFirstNul) {
  std::string text = "interleaved_alloc: {nstrips: 2}\n";
  text.resize(100'000, '\0');
  text += "rubbish: [";
  EXPECT_EQ(parse_alloc_config(text).strips, 2U);
}

TEST(AllocConfig, RefusesEverythingElse) {
  const std::string cases[] = {
      "interleaved_alloc",
      "[1, 2]",
      "other: {nstrips: 2}",
      "interleaved_alloc: 7",
      "interleaved_alloc: {nstrip: 2}",
      "interleaved_alloc: {nstrips: 17}",
      "interleaved_alloc: {nstrips: -1}",
      "interleaved_alloc: {nstrips: [2]}",
      "interleaved_alloc: {nbuckets: 65}",
      "interleaved_alloc: {chunk_size: {a: b}}",
      "interleaved_alloc: {chunk_size: 2x}",
      "interleaved_alloc: {[a]: 1}",
      "? [interleaved_alloc]\n: {nstrips: 2}",
      "interleaved_alloc: {nstrips: 2",
      "a: &a [*a]",
      "\x01\xff",
      std::string(4000, '['),
      std::string(4000, '{'),
      "interleaved_alloc: {nstrips: 2}\n" + std::string(8000, '#'),
  };
  for (const std::string& text : cases) {
    EXPECT_EQ(error_code_of([&] { parse_alloc_config(text); }), EINVAL) << text.substr(0, 60);
  }
  EXPECT_EQ(error_code_of([] {
              parse_alloc_config("interleaved_alloc: {chunk_size: 99999999999999999999}");
            }),
            ERANGE);
}

}  // namespace
}  // namespace famfs::cli
