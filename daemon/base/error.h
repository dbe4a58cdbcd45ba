// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <cerrno>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace famfs::base {

// The one exception type of the daemon: an errno value for callers that must answer the kernel or
// exit with a code, and a complete sentence for people (what was wrong, where, what was found, what
// is allowed).
class Error : public std::exception {
 public:
  // `code` is a positive errno value.
  Error(int code, std::string message) : code_(code), message_(std::move(message)) {}

  template <typename... Args>
  Error(int code, fmt::format_string<Args...> format, Args&&... args)
      : code_(code), message_(fmt::format(format, std::forward<Args>(args)...)) {}

  int code() const noexcept { return code_; }
  const char* what() const noexcept override { return message_.c_str(); }
  const std::string& message() const noexcept { return message_; }

 private:
  int code_;
  std::string message_;
};

// Error of a failed system call: takes errno now, message is "TEXT: strerror(errno)".
Error system_error(std::string_view text);

}  // namespace famfs::base
