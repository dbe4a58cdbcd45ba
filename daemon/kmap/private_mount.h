// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "base/file_descriptor.h"
#include "kmap/offer.h"

namespace famfs::kmap {

// A FUSE mount that is in no directory: only this process can reach it, through root(). Its kernel
// side goes away with this object, or with the process.
class PrivateMount {
 public:
  // Mounts and reads FUSE_INIT. Throws base::Error with the errno of what failed; needs
  // CAP_SYS_ADMIN.
  PrivateMount();

  const Offer& offer() const noexcept { return offer_; }
  // The connection, as /dev/fuse: not blocking.
  int fuse() const noexcept { return fuse_.get(); }
  // The root directory, for openat(2). Requests have to be answered by another thread.
  int root() const noexcept { return root_.get(); }

  // Answers FUSE_INIT. Throws base::Error.
  void accept(Protocol protocol);

  // Lets go of the root directory: from then on only open files keep the mount.
  void close_root() noexcept { root_.reset(); }

 private:
  void read_init();

  // Destroyed from the last to the first: without its server a mount waits for no answer.
  base::FileDescriptor root_;
  base::FileDescriptor fuse_;
  Offer offer_;
  std::uint64_t init_unique_ = 0;
};

// What this kernel offers to this process; nullopt if it may not ask (no CAP_SYS_ADMIN).
std::optional<Offer> probe_kernel();

}  // namespace famfs::kmap
