// SPDX-License-Identifier: Apache-2.0
#include "cli/daemon_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "cli/readiness.h"
#include "control/run_directory.h"
#include "fuse/filesystem.h"

namespace famfs::cli {
namespace {

std::string daemon_program() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) {
    const std::string beside = (self.parent_path() / "famfsd").string();
    if (access(beside.c_str(), X_OK) == 0) return beside;
  }
  return "famfsd";
}

pid_t spawn(const std::string& program, const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  std::string name = program;
  std::vector<std::string> copies = arguments;
  argv.push_back(name.data());
  for (std::string& argument : copies) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, program.c_str(), nullptr, nullptr, argv.data(), environ);
  if (error != 0) {
    throw base::Error(error, "cannot start {}: {}; it must be beside famfs or in PATH", program,
                      std::strerror(error));
  }
  return pid;
}

// The process that listens on the control socket in `run_directory`.
std::optional<pid_t> listener(const std::string& run_directory) {
  const base::FileDescriptor directory(
      open(run_directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const base::FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!directory || !fd) return std::nullopt;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // By descriptor: the path may be longer than sockaddr_un holds.
  const std::string path = fmt::format("/proc/self/fd/{}/sock", directory.get());
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
    return std::nullopt;
  }
  return peer.pid;
}

// Runs fusermount3, which unmounts for users who are not root.
void run_fusermount(const std::string& mount_point, bool lazily) {
  std::vector<std::string> arguments{"-u", "-q"};
  if (lazily) arguments.emplace_back("-z");
  arguments.insert(arguments.end(), {"--", mount_point});
  const pid_t pid = spawn("fusermount3", arguments);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw base::Error(EBUSY, "fusermount3 could not unmount {}; it is in use, or another user's",
                      mount_point);
  }
}

}  // namespace

std::string start_daemon(const std::vector<std::string>& arguments) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw base::system_error("cannot make a pipe");
  const base::FileDescriptor reader(ends[0]);
  // The daemon inherits this one alone.
  base::FileDescriptor writer(fcntl(ends[1], F_DUPFD, STDERR_FILENO + 1));
  close(ends[1]);
  std::vector<std::string> all{"--ready-fd", std::to_string(writer.get())};
  all.insert(all.end(), arguments.begin(), arguments.end());
  spawn(daemon_program(), all);
  writer.reset();
  return wait_until_ready(reader.get());
}

base::FileDescriptor daemon_of(const std::string& mount_point) {
  std::vector<std::string> candidates;
  std::array<char, PATH_MAX> value{};
  const ssize_t length =
      getxattr(mount_point.c_str(), fuse::kShadowAttribute, value.data(), value.size());
  if (length > 0) {
    candidates.emplace_back(value.data(), static_cast<std::size_t>(length));
  } else {
    // A mount whose file system was replaced does not answer; its directory has a known name.
    candidates.push_back(control::RunDirectory::default_root() + "/" +
                         control::RunDirectory::instance_name(mount_point));
  }
  for (const std::string& candidate : candidates) {
    if (const auto pid = listener(candidate)) {
      const long fd = syscall(SYS_pidfd_open, *pid, 0);
      if (fd >= 0) return base::FileDescriptor(static_cast<int>(fd));
    }
  }
  return {};
}

void wait_for_end(const base::FileDescriptor& process) {
  pollfd wanted{process.get(), POLLIN, 0};
  while (poll(&wanted, 1, -1) < 0 && errno == EINTR) {
  }
}

bool is_stale(const std::string& mount_point) {
  // Not stat(2): the kernel answers that from what it has kept of the dead daemon.
  struct statvfs numbers = {};
  return statvfs(mount_point.c_str(), &numbers) != 0 && errno == ENOTCONN;
}

void unmount(const std::string& mount_point, bool lazily) {
  if (geteuid() != 0) return run_fusermount(mount_point, lazily);
  if (umount2(mount_point.c_str(), UMOUNT_NOFOLLOW | (lazily ? MNT_DETACH : 0)) == 0) return;
  const int error = errno;
  throw base::Error(error, "cannot unmount {}: {}{}", mount_point, std::strerror(error),
                    error == EBUSY ? "; a process has a file open or its working directory there "
                                     "(fuser -m names it)"
                                   : "");
}

}  // namespace famfs::cli
