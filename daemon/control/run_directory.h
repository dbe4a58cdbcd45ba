// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace famfs::control {

// The private directory of one running daemon: its log, its control socket.
//
// Mode 0700. The daemon holds flock(2) on the directory itself for as long as it lives, so a
// directory that can be locked belongs to a daemon that died; it is taken over, and that
// daemon's log is kept as famfsd.log.1. The destructor removes what the daemon made.
class RunDirectory {
 public:
  // Where instances live: $FAMFS_RUN_DIR, else /run/famfs for root, else
  // $XDG_RUNTIME_DIR/famfs, else /tmp/famfs-UID.
  static std::string default_root();

  // Name of the directory for a mount point: "/mnt/famfs" becomes "mnt-famfs".
  static std::string instance_name(const std::string& mount_point);

  // A directory under `root` called instance_name() (a number is added while another live
  // daemon has that name). Throws base::Error.
  static RunDirectory create(const std::string& root, const std::string& mount_point);

  // The directory `path` itself, made when it does not exist. Throws base::Error with EBUSY when
  // a live daemon has it.
  static RunDirectory at(const std::string& path);

  // Removes the directory that a daemon which died left behind for this mount point, if any.
  static void remove_stale(const std::string& root, const std::string& mount_point);

  RunDirectory(RunDirectory&& other) noexcept;
  RunDirectory& operator=(RunDirectory&&) = delete;
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;
  ~RunDirectory();

  const std::string& path() const { return path_; }
  std::string log_path() const { return path_ + "/famfsd.log"; }
  std::string socket_path() const { return path_ + "/sock"; }

  // The open, locked directory; owned by this object.
  int fd() const { return fd_; }

 private:
  RunDirectory(std::string path, int fd, bool made);

  std::string path_;
  int fd_;     // locked; -1 once moved from
  bool made_;  // we made the directory and so remove it
};

}  // namespace famfs::control
