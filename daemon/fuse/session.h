// SPDX-License-Identifier: Apache-2.0
#pragma once

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

// A mounted FUSE session: created unmounted, unmounted by the destructor at the latest.
//
// SIGINT, SIGTERM and SIGHUP end run(). Not thread-safe except stop() and forget_contents().
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

  // Serves requests until unmounted, a signal or stop(). Throws base::Error when libfuse fails.
  void run();

  // Ends run() from another thread or from within a callback of FUSE_INIT.
  void stop();

  // Tells the kernel to drop attributes and data of the nodes 1 .. `highest`. Not from a callback.
  void forget_contents(tree::NodeId highest);

 private:
  struct Destroy {
    void operator()(fuse_session* session) const;
  };

  const SessionOptions options_;
  std::unique_ptr<fuse_session, Destroy> session_;
  bool mounted_ = false;
};

}  // namespace famfs::fuse
