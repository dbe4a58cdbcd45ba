// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include "base/error.h"
#include "base/file_descriptor.h"

namespace famfs::cli {

// How famfsd tells `famfs mount` that the mount can be used, or why not: one message over a pipe,
// then the end of file. A daemon that dies says nothing, which the reader sees as the end of file.
class ReadyWriter {
 public:
  explicit ReadyWriter(base::FileDescriptor pipe) : pipe_(std::move(pipe)) {}

  // False when nobody waits for it any more.
  bool ready(const std::string& text);
  // Ignored after ready().
  void failed(const base::Error& error);

 private:
  bool send(const std::string& message);

  base::FileDescriptor pipe_;
};

// Waits for the message and returns the text of ready(). Throws the error of failed(), or EIO when
// the other end said nothing.
std::string wait_until_ready(int pipe);

}  // namespace famfs::cli
