// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fuse/filesystem.h"
#include "tree/tree.h"

namespace famfs::fuse {

struct SessionOptions {
  std::string source;                      // first field of /proc/mounts
  std::vector<std::string> mount_options;  // for mount(2) or fusermount3: "allow_other", "ro", …
  bool debug = false;                      // libfuse logs every message; one thread
  bool clone_fd = true;                    // a /dev/fuse descriptor for each thread
  unsigned max_threads = 0;                // 0: libfuse's default
};

// Why run() ended.
enum class Ended { kForGood, kToHandOver };

// A mounted FUSE session: created unmounted, unmounted by the destructor at the latest.
//
// SIGINT, SIGTERM and SIGHUP end run(); so does SIGUSR2, with no request taken and not answered,
// for another program to go on. That one must be blocked in every thread (block_handover_signal()).
// Not thread-safe except stop() and forget_contents().
class Session {
 public:
  // Takes over libfuse's log (to spdlog) for the whole process. Throws base::Error with EINVAL for
  // options that libfuse does not know.
  Session(Filesystem& filesystem, const SessionOptions& options);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  // Throws base::Error; libfuse's own words are in the log and, when known, in the message.
  void mount(const std::string& mount_point);

  // Instead: serves what is mounted already, over the /dev/fuse descriptor of who did it before,
  // and takes it. `unmount` is for the destructor. Throws base::Error.
  void adopt(int fuse_fd, std::function<void()> unmount);
  // Of the mounted session, which owns it.
  int descriptor() const;

  // Serves requests until unmounted, a signal or stop(). After kToHandOver it may be called again.
  // Throws base::Error when libfuse fails.
  Ended run();

  // Ends run() from another thread or from within a callback of FUSE_INIT.
  void stop();

  // Tells the kernel to drop attributes and data of the nodes 1 .. `highest`. Not from a callback.
  void forget_contents(tree::NodeId highest);

 private:
  struct Destroy {
    void operator()(fuse_session* session) const;
  };

  class HandoverWatch;

  Filesystem& filesystem_;
  const SessionOptions options_;
  std::unique_ptr<fuse_session, Destroy> session_;
  bool mounted_ = false;
  std::function<void()> unmount_;  // of an adopted session
  std::atomic<bool> handing_over_ = false;
};

// To be called before any thread is made.
void block_handover_signal();

}  // namespace famfs::fuse
