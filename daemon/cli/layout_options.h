// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/command.h"
#include "cli/mount_client.h"

namespace famfs::cli {

// -N, -B and -C, the same for creat and cp.
class LayoutOptions {
 public:
  // Declares the options; `app` must not outlive this object.
  void declare(CLI::App& app);

  // How files of the mount that `path` (which need not exist) is in are laid out: what the options
  // say, for the rest the defaults of the mount (alloc_config.h). Strips without buckets take as
  // many buckets. Throws UsageError, and base::Error for defaults that cannot be used.
  Interleave interleave_for(const std::string& path) const;

 private:
  Interleave given_;
  const CLI::Option* strips_ = nullptr;
  const CLI::Option* buckets_ = nullptr;
  const CLI::Option* chunk_size_ = nullptr;
};

}  // namespace famfs::cli
