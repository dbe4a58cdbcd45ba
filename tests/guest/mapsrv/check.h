// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <stdexcept>
#include <string>

namespace mapsrv {

// The group cannot go on: what it needs does not work.
class CannotGoOn : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Counts a check; a failed one is printed with its place, errno at that moment and `detail`.
bool check(bool good, const char* expression, const char* file, int line,
           const std::string& detail = {});
// The same for a system call that has to fail with `error`.
bool check_error(long result, int error, const char* expression, const char* file, int line);

// A remark in the output.
void say(const std::string& text);

int checks_passed();
int checks_failed();

}  // namespace mapsrv

// Arguments after the condition are evaluated only if it is false.
#define EXPECT(condition, ...)                                                        \
  do {                                                                                \
    const bool good_ = static_cast<bool>(condition);                                  \
    if (good_) {                                                                      \
      mapsrv::check(true, #condition, __FILE__, __LINE__);                            \
    } else {                                                                          \
      mapsrv::check(false, #condition, __FILE__, __LINE__, std::string{__VA_ARGS__}); \
    }                                                                                 \
  } while (false)

#define EXPECT_ERROR(call, error) \
  mapsrv::check_error(static_cast<long>(call), error, #call, __FILE__, __LINE__)

#define REQUIRE(condition)                                                            \
  do {                                                                                \
    if (!mapsrv::check(static_cast<bool>(condition), #condition, __FILE__, __LINE__)) \
      throw mapsrv::CannotGoOn(#condition);                                           \
  } while (false)
