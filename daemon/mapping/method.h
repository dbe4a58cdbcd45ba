// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "mapping/fuse_api.h"
#include "tree/tree.h"
#include "volume/volume.h"

namespace famfs::mapping {

// What the kernel of this connection can do, known when it sends FUSE_INIT.
struct KernelOffer {
  std::uint64_t flags = 0;  // FUSE_CAP_* bits that it has
  unsigned major = 0;       // of the FUSE protocol
  unsigned minor = 0;
};

// How the bytes of files reach applications: one object per mount, made by negotiate().
//
// fuse/ asks the method at FUSE_INIT, at each open and for each read, write and flush, and knows
// nothing of how it works; a method in which the kernel maps files itself answers open() with a
// map and never sees a read.
//
// Thread safety: init() is called once, before all others; the others from any thread.
// Errors: base::Error, which fuse/ turns into the answer. A handler throws before it replies or
// replies exactly once.
class Method {
 public:
  virtual ~Method() = default;
  Method(const Method&) = delete;
  Method& operator=(const Method&) = delete;

  // As in `-o method=NAME`.
  virtual std::string_view name() const noexcept = 0;
  // One sentence for people: what this method means for applications.
  virtual std::string_view consequence() const noexcept = 0;

  // Chooses connection features; called at FUSE_INIT.
  virtual void init(fuse_conn_info& connection) = 0;
  // Fills the answer to an open of the file `id`.
  virtual void open(tree::NodeId id, fuse_file_info& answer) = 0;
  // Answers a read. `offset` may be at or after the end of the file.
  virtual void read(fuse_req_t request, tree::NodeId id, std::uint64_t offset,
                    std::size_t size) = 0;
  // Answers a write. Data up to the end of the file is taken; ENOSPC when there is none.
  virtual void write(fuse_req_t request, tree::NodeId id, std::uint64_t offset,
                     std::span<const std::byte> data) = 0;
  // Makes what this host wrote to the file visible to others, and what others wrote visible here.
  virtual void flush(tree::NodeId id) = 0;

 protected:
  Method() = default;
};

// The best method that the kernel offers, or `wanted` when it is not empty. Throws base::Error:
// EINVAL for a name that does not exist (lists those that do), EOPNOTSUPP for one that this kernel
// lacks (says what it lacks).
std::unique_ptr<Method> negotiate(const KernelOffer& offer, std::string_view wanted,
                                  volume::Volume& volume);

// Throws as negotiate() for a name that does not exist; empty is allowed. For use before mount.
void check_method_name(std::string_view wanted);

}  // namespace famfs::mapping
