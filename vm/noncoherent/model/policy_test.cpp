// SPDX-License-Identifier: Apache-2.0
#include "model/policy.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace noncoherent {
namespace {

TEST(Policy, IsReadAndDescribed) {
  EXPECT_EQ(describe(parse_policy("strict")), "strict,evict=0,seed=1,capacity=64");
  EXPECT_EQ(describe(parse_policy("lenient,seed=7")), "lenient,evict=0,seed=7,capacity=64");
  const std::string full = "strict,evict=32,seed=18446744073709551615,capacity=2";
  EXPECT_EQ(describe(parse_policy(full)), full);
  EXPECT_EQ(parse_policy("strict,evict").evictions, 64u);
  EXPECT_EQ(describe(parse_policy("strict,shuffle")), "strict,evict=0,shuffle,seed=1,capacity=64");
}

TEST(Policy, SaysWhatIsWrongAndWhatIsAllowed) {
  for (const char* text :
       {"", "relaxed", "strict,,evict", "strict,seed=", "strict,seed=-1", "strict,seed=1x",
        "strict,evict=1025", "strict,capacity=0", "strict,seed=18446744073709551616"}) {
    try {
      parse_policy(text);
      ADD_FAILURE() << text << " was accepted";
    } catch (const std::invalid_argument& error) {
      const std::string_view said = error.what();
      EXPECT_NE(said.find(text), said.npos) << said;
      EXPECT_NE(said.find("it can be"), said.npos) << said;
    }
  }
}

}  // namespace
}  // namespace noncoherent
