// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kmap/message.h"
#include "kmap/offer.h"
#include "mapping/fuse_api.h"
#include "tree/tree.h"
#include "volume/volume.h"

namespace famfs::mapping {

// What a method has done, for diagnostics.
struct Statistics {
  std::uint64_t maps_told = 0;     // maps of files that the kernel was given
  std::uint64_t devices_told = 0;  // devices that it was given or asked for
  std::uint64_t refused = 0;       // files whose map it cannot take
};

// What the kernel has been given for one connection, which it keeps whoever serves that.
struct Given {
  std::vector<std::uint32_t> devices;  // their indexes
  std::vector<tree::NodeId> maps;      // files
};

// How the bytes of files reach applications: one object per mount, made by negotiate().
//
// fuse/ asks the method at FUSE_INIT, at each open and for each read, write and flush, and knows
// nothing of how it works; a method in which the kernel maps files itself answers open() with a
// map and never sees a read.
//
// Thread safety: init(), then connected() or resumed() are called once, before all others; the
// others from any thread. Errors: base::Error, which fuse/ turns into the answer. A handler throws
// before it replies or replies exactly once.
class Method {
 public:
  virtual ~Method() = default;
  Method(const Method&) = delete;
  Method& operator=(const Method&) = delete;

  // As in `-o method=NAME`.
  virtual std::string_view name() const noexcept = 0;
  // One sentence for people: what this method means for applications.
  virtual std::string_view consequence() const noexcept = 0;

  // Whether programs load from the memory of files without the daemon, which so cannot invalidate.
  virtual bool loads_past_daemon() const noexcept { return false; }

  // Chooses connection features; called at FUSE_INIT.
  virtual void init(fuse_conn_info& connection) = 0;
  // What the answer to FUSE_INIT must say besides what libfuse says.
  virtual kmap::InitAnswer init_answer() const noexcept { return {}; }
  // The kernel has taken the answer to FUSE_INIT. What this throws undoes the mount.
  virtual void connected(int /*fuse_fd*/) {}
  // Instead of connected(): another program has served this connection, and gave the kernel this.
  virtual void resumed(int /*fuse_fd*/, const Given& /*given*/) {}
  // For resumed() of the next program.
  virtual Given given() const { return {}; }
  // Fills the answer to an open of the file `id`. Returns the backing object that the answer names,
  // 0 for none.
  virtual std::uint64_t open(tree::NodeId id, fuse_file_info& answer) = 0;
  // The body of the answer to a message that libfuse does not know; nullopt if it is not the
  // method's either.
  virtual std::optional<std::vector<std::byte>> answer(const kmap::Request& /*request*/) {
    return std::nullopt;
  }
  // Answers a read. `offset` may be at or after the end of the file.
  virtual void read(fuse_req_t request, tree::NodeId id, std::uint64_t offset,
                    std::size_t size) = 0;
  // Answers a write. Data up to the end of the file is taken; ENOSPC when there is none.
  virtual void write(fuse_req_t request, tree::NodeId id, std::uint64_t offset,
                     std::span<const std::byte> data) = 0;
  // Makes what this host wrote to the file visible to others, and what others wrote visible here.
  virtual void flush(tree::NodeId id) = 0;
  // The file system was replaced: no map is given out any more, and those that the kernel looks up
  // by name are taken away. Maps in use go with the kernel's copies of the files (fuse/ drops
  // those afterwards). Never throws.
  virtual void withdraw() noexcept {}

  virtual Statistics statistics() const { return {}; }

 protected:
  Method() = default;
};

struct Choice {
  std::unique_ptr<Method> method;
  std::string passed_over;  // why no better method was taken, empty if there is none
};

// The best method that kernel and memory allow, or `wanted` when it is not empty. Throws
// base::Error: EINVAL for a name that does not exist (lists those that do), EOPNOTSUPP if none can
// be used (says what each lacks).
Choice negotiate(const kmap::Offer& offer, std::string_view wanted, volume::Volume& volume);

// Throws as negotiate() for a name that does not exist; empty is allowed. For use before mount.
void check_method_name(std::string_view wanted);

// All names, separated by commas, best first.
std::string method_names();

}  // namespace famfs::mapping
