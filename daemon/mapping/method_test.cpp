// SPDX-License-Identifier: Apache-2.0
// Contract: mapping methods are known by name, and a wrong name is refused with those that exist.
#include "mapping/method.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "base/error.h"

namespace famfs::mapping {
namespace {

using testing::HasSubstr;

TEST(Method, NoNameAndKnownNamesAreAccepted) {
  EXPECT_NO_THROW(check_method_name(""));
  EXPECT_NO_THROW(check_method_name("daemon-served"));
}

TEST(Method, UnknownNameIsRefusedWithTheNamesThatExist) {
  try {
    check_method_name("telepathy");
    FAIL() << "accepted";
  } catch (const base::Error& error) {
    EXPECT_EQ(error.code(), EINVAL);
    EXPECT_THAT(error.message(), HasSubstr("telepathy"));
    EXPECT_THAT(error.message(), HasSubstr("daemon-served"));
  }
}

}  // namespace
}  // namespace famfs::mapping
