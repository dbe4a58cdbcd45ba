// SPDX-License-Identifier: Apache-2.0
#include "cli/serve.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file_descriptor.h"
#include "base/system_uuid.h"
#include "cli/daemon_process.h"
#include "cli/device.h"
#include "cli/device_scan.h"
#include "cli/host_lines.h"
#include "cli/mounts.h"
#include "control/logging.h"
#include "control/run_directory.h"
#include "control/server.h"
#include "control/status.h"
#include "fuse/filesystem.h"
#include "fuse/log_watch.h"
#include "fuse/session.h"
#include "mapping/daemon_served.h"
#include "volume/volume.h"

namespace famfs::cli {
namespace {

// Two masters would both append to one log. flock(2) keeps them apart on this machine; between
// machines the system uuid does.
base::FileDescriptor lock_as_master(const std::string& device) {
  base::FileDescriptor fd = try_master_lock(device);
  if (!fd) {
    throw base::Error(EBUSY,
                      "{} is mounted on this machine by its master already; unmount that, or "
                      "mount with -o client",
                      device);
  }
  return fd;
}

// Nullopt, with `problem` set if that is not as it should be, when this host does not know who it
// is: it is a client then.
std::optional<base::Uuid> identity(std::string& problem) {
  try {
    return base::load_system_uuid();
  } catch (const base::Error& error) {
    problem = error.message();
    return std::nullopt;
  }
}

control::RunDirectory make_run_directory(const DaemonOptions& options) {
  return options.run_directory.empty()
             ? control::RunDirectory::create(control::RunDirectory::default_root(),
                                             options.mount_point)
             : control::RunDirectory::at(options.run_directory);
}

fuse::SessionOptions session_options(const DaemonOptions& options, const std::string& source) {
  fuse::SessionOptions session;
  session.source = source;
  session.mount_options = options.mount_flags;
  if (options.read_only) session.mount_options.emplace_back("ro");
  if (options.allow_other) session.mount_options.emplace_back("allow_other");
  if (options.default_permissions) session.mount_options.emplace_back("default_permissions");
  session.debug = options.debug;
  session.clone_fd = options.clone_fd;
  session.max_threads = options.max_threads;
  return session;
}

// A mount that another program has made, until a session has it: nobody would serve it otherwise.
class InheritedMount {
 public:
  InheritedMount(int fuse_fd, std::string mount_point)
      : fuse_fd_(fuse_fd), mount_point_(std::move(mount_point)) {}
  InheritedMount(const InheritedMount&) = delete;
  InheritedMount& operator=(const InheritedMount&) = delete;
  ~InheritedMount() {
    if (fuse_fd_) remove();
  }

  void give_to(fuse::Session& session) {
    session.adopt(fuse_fd_.release(), [this] { remove(); });
  }

 private:
  void remove() const noexcept {
    try {
      unmount(mount_point_, true);
    } catch (const std::exception& error) {
      spdlog::error("{}", error.what());
    }
  }

  base::FileDescriptor fuse_fd_;
  const std::string mount_point_;
};

std::optional<fuse::Agreed> agreed_by(const std::optional<Handover>& before) {
  return before ? std::optional(before->agreed) : std::nullopt;
}

std::vector<Loan> take_loans(const Handover& before) {
  std::vector<Loan> loans;
  loans.reserve(before.loans.size());
  for (const auto& [device, former] : before.loans) {
    loans.push_back(std::make_unique<memory::DaxDriverLoan>(
        device, former, [](const std::string& trouble) { spdlog::error("{}", trouble); },
        std::adopt_lock));
  }
  return loans;
}

std::string describe(const volume::Volume& volume, const fuse::Filesystem& filesystem,
                     const volume::RefreshResult& replayed, const std::string& device,
                     const std::string& mount_point, const std::string& identity_problem) {
  const mapping::Method& method = *filesystem.method();
  std::string text =
      fmt::format("{} at {}: {}, mapping method {}: {}\n", device, mount_point,
                  volume::to_string(volume.role()), method.name(), method.consequence());
  // Said aloud where something better exists; silent where it was the wish, or all there is.
  if (method.name() == mapping::DaemonServed::kName && !filesystem.passed_over().empty()) {
    text += fmt::format("no mapping by the kernel: {}\n", filesystem.passed_over());
  }
  if (!identity_problem.empty()) {
    text += fmt::format("warning: this host counts as a client: {}\n", identity_problem);
  }
  for (const volume::DeviceState& device : volume.devices()) {
    if (!device.path.empty()) continue;
    text += fmt::format("warning: files that need it answer EIO: {}\n", device.reason);
  }
  if (replayed.stopped) {
    text += fmt::format(
        "warning: {} log entries were played, then the log is damaged: {}; what "
        "follows it is not shown; run `famfs fsck` for all of it\n",
        replayed.entries, media::to_string(*replayed.stopped));
  }
  return text;
}

}  // namespace

void serve(const DaemonOptions& options, std::optional<Handover> before,
           const std::function<bool(const std::string&)>& ready,
           const std::function<void(Handover&)>& replace) {
  umask(0077);
  fuse::block_handover_signal();
  InheritedMount mounted(before ? before->fuse_fd : -1, options.mount_point);
  base::FileDescriptor inherited_lock(before ? before->lock_fd : -1);
  const std::string source = canonical(options.device);
  const control::RunDirectory run = make_run_directory(options);
  control::open_log(run.log_path(), options.foreground);
  if (options.debug) control::set_log_level(control::kLogLevels - 1);

  std::mutex loans_mutex;
  std::vector<Loan> loans;
  const auto borrow = [&](const std::string& path) {
    const std::scoped_lock guard(loans_mutex);
    if (Loan lent = lend_for_mount(path, options.method)) loans.push_back(std::move(lent));
  };
  if (before) {
    loans = take_loans(*before);
  } else if (options.set_daxmode) {
    borrow(source);
  }
  base::FileDescriptor lock;
  volume::DeviceSource devices =
      device_source(source, options.daxdevs, memory::Access::kReadWrite, options.backend);
  // Of a device that was named: any other may be another file system's.
  devices.open = [&, open = devices.open](const std::string& path) {
    const bool named = std::any_of(options.daxdevs.begin(), options.daxdevs.end(),
                                   [&](const auto& given) { return canonical(given) == path; });
    if (options.set_daxmode && named) borrow(path);
    return open(path);
  };
  std::string identity_problem;
  auto memory = memory::open_memory(source, memory::Access::kReadWrite, options.backend);
  note_log(*memory);
  const auto volume = volume::Volume::open(
      std::move(memory),
      {identity(identity_problem), options.client || options.read_only, devices,
       [&] { lock = inherited_lock ? std::move(inherited_lock) : lock_as_master(source); }});
  if (before) {
    volume->restore(before->nodes);
  } else if (geteuid() != 0) {
    // The medium has no owner of the root directory; a user's own mount is that user's.
    volume->set_attributes(tree::kRoot, {.uid = geteuid(), .gid = getegid()});
  }

  memory::HeldLines held = host_lines(volume->superblock().fs_uuid);
  fuse::Filesystem filesystem(*volume, {.run_directory = run.path(),
                                        .method = before ? before->method : options.method,
                                        .timeout_seconds = options.timeout_seconds,
                                        .open_device = devices.open,
                                        .held_lines = &held,
                                        .agreed = agreed_by(before)});
  fuse::Session session(filesystem, session_options(options, source));
  std::optional<base::Error> refused;
  filesystem.negotiated = [&](const base::Error* error) {
    if (error != nullptr) {
      refused = *error;
      session.stop();
      return;
    }
    const std::string text = describe(*volume, filesystem, volume->last_refresh(), source,
                                      options.mount_point, identity_problem);
    spdlog::info("{} {}", before ? "famfsd " FAMFS_VERSION " goes on with" : "mounted",
                 std::string_view(text).substr(0, text.size() - 1));
    if (ready(text)) return;
    refused = base::Error(EINTR, "the program that asked for the mount has ended");
    session.stop();
  };

  const auto make_room = [&] {
    if (volume->superseded()) throw base::Error(ESTALE, "the file system was replaced");
    Handover handover{.fuse_fd = session.descriptor(),
                      .lock_fd = lock.get(),
                      .foreground = options.foreground,
                      .directory = {},
                      .method = std::string(filesystem.method()->name()),
                      .agreed = filesystem.agreed(),
                      .loans = {},
                      .nodes = volume->node_states()};
    for (const Loan& loan : loans) {
      if (loan->changed()) handover.loans.emplace_back(loan->path(), loan->former());
    }
    replace(handover);
  };

  if (before) {
    mounted.give_to(session);
  } else {
    session.mount(options.mount_point);
  }
  {
    const control::Server server(
        run.fd(),
        control::make_reports(*volume, filesystem, {source, options.mount_point, run.path()}));
    const fuse::LogWatch watch(filesystem, [&] {
      spdlog::error(
          "{} was formatted anew (or killed) since this mount; its files are gone, every "
          "operation answers ESTALE until it is unmounted and mounted again",
          source);
      // First no new maps, then the old ones: none can slip in between.
      filesystem.withdraw();
      session.forget_contents(volume->space().nodes());
    });
    while (!refused && session.run() == fuse::Ended::kToHandOver) {
      try {
        make_room();
      } catch (const base::Error& error) {
        spdlog::error("not handed over, this program goes on: {}", error.what());
      }
    }
  }
  if (refused) throw base::Error(*refused);
  spdlog::info("unmounted");
}

}  // namespace famfs::cli
