// SPDX-License-Identifier: Apache-2.0
#include "cli/readiness.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "cli/numbers.h"

namespace famfs::cli {
namespace {

// First byte of the message. After kFailed: the errno in decimal, a newline, the message.
constexpr char kReady = 'R';
constexpr char kFailed = 'F';

constexpr std::uint64_t kLargestErrno = 4095;

}  // namespace

bool ReadyWriter::send(const std::string& message) {
  std::size_t sent = 0;
  while (pipe_ && sent < message.size()) {
    const ssize_t done = write(pipe_.get(), message.data() + sent, message.size() - sent);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) break;
    sent += static_cast<std::size_t>(done);
  }
  pipe_.reset();
  return sent == message.size();
}

bool ReadyWriter::ready(const std::string& text) { return send(kReady + text); }

void ReadyWriter::failed(const base::Error& error) {
  send(fmt::format("{}{}\n{}", kFailed, error.code(), error.what()));
}

std::string wait_until_ready(int pipe) {
  std::string message;
  std::array<char, 4096> buffer{};
  while (true) {
    const ssize_t done = read(pipe, buffer.data(), buffer.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) throw base::system_error("waiting for famfsd");
    if (done == 0) break;
    message.append(buffer.data(), static_cast<std::size_t>(done));
  }
  if (!message.empty() && message.front() == kReady) return message.substr(1);
  if (!message.empty() && message.front() == kFailed) {
    const std::size_t end = message.find('\n');
    if (end != std::string::npos) {
      const auto code = parse_number(std::string_view(message).substr(1, end - 1), kLargestErrno);
      throw base::Error(static_cast<int>(code.value_or(EIO)), message.substr(end + 1));
    }
  }
  throw base::Error(EIO, "famfsd ended before it had mounted and gave no reason");
}

}  // namespace famfs::cli
