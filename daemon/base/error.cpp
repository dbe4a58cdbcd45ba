// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <system_error>

namespace famfs::base {

Error system_error(std::string_view text) {
  const int code = errno;
  // std::generic_category is thread-safe, strerror is not.
  return Error(code, "{}: {}", text, std::generic_category().message(code));
}

}  // namespace famfs::base
