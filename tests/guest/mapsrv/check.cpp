// SPDX-License-Identifier: Apache-2.0
#include "mapsrv/check.h"

#include <cstdio>
#include <cstring>

namespace mapsrv {
namespace {

int passed = 0;
int failed = 0;

}  // namespace

bool check(bool good, const char* expression, const char* file, int line,
           const std::string& detail) {
  if (good) {
    ++passed;
    return true;
  }
  const int error = errno;
  ++failed;
  const char* slash = std::strrchr(file, '/');
  std::printf("FAIL %s:%d: %s (%s%serrno %s)\n", slash != nullptr ? slash + 1 : file, line,
              expression, detail.c_str(), detail.empty() ? "" : ", ", std::strerror(error));
  return false;
}

bool check_error(long result, int error, const char* expression, const char* file, int line) {
  return check(result == -1 && errno == error, expression, file, line,
               result == -1
                   ? std::string("wanted ") + std::strerror(error)
                   : "gave " + std::to_string(result) + ", wanted " + std::strerror(error));
}

void say(const std::string& text) { std::printf("== %s\n", text.c_str()); }

int checks_passed() { return passed; }
int checks_failed() { return failed; }

}  // namespace mapsrv
