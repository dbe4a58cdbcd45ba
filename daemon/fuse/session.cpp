// SPDX-License-Identifier: Apache-2.0
#include "fuse/session.h"

#include <fuse_log.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "fuse/hooked_io.h"

namespace famfs::fuse {
namespace {

// How long a request that is being served may take until a handover is given up.
constexpr std::chrono::seconds kPatience{10};

sigset_t handover_signal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  return set;
}

// The kernel has ended the connection: there is nothing to unmount.
bool is_gone(int fuse_fd) {
  pollfd state{fuse_fd, 0, 0};
  return poll(&state, 1, 0) == 1 && (state.revents & POLLERR) != 0;
}

// What libfuse said last: its functions answer -1 and tell the reason only here. Written while
// mounting, and by every thread that libfuse complains in later.
// NOLINTBEGIN(cppcoreguidelines-avoid-non-const-global-variables): its log function has no context
std::mutex complaint_mutex;
std::string last_complaint;
// NOLINTEND(cppcoreguidelines-avoid-non-const-global-variables)

void set_complaint(std::string_view text) {
  const std::scoped_lock lock(complaint_mutex);
  last_complaint = text;
}

void log_from_libfuse(fuse_log_level level, const char* format, va_list arguments) {
  std::array<char, 1024> text{};
  std::vsnprintf(text.data(), text.size(), format, arguments);
  std::string_view line(text.data());
  while (line.ends_with('\n')) line.remove_suffix(1);
  if (level <= FUSE_LOG_ERR) {
    set_complaint(line);
    spdlog::error("libfuse: {}", line);
  } else if (level <= FUSE_LOG_WARNING) {
    spdlog::warn("libfuse: {}", line);
  } else if (level <= FUSE_LOG_INFO) {
    spdlog::info("libfuse: {}", line);
  } else {
    spdlog::debug("libfuse: {}", line);
  }
}

// libfuse splits options at commas.
std::string escape(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == ',' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

class Arguments {
 public:
  explicit Arguments(const SessionOptions& options) {
    add("famfsd");
    add("-ofsname=" + escape(options.source));
    add("-osubtype=famfs");
    for (const std::string& option : options.mount_options) add("-o" + option);
    if (options.debug) add("-d");
  }
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;
  ~Arguments() { fuse_opt_free_args(&args_); }

  fuse_args* get() { return &args_; }

 private:
  void add(const std::string& argument) {
    if (fuse_opt_add_arg(&args_, argument.c_str()) != 0) throw std::bad_alloc();
  }

  fuse_args args_ = FUSE_ARGS_INIT(0, nullptr);
};

struct DestroyLoopConfig {
  void operator()(fuse_loop_config* config) const { fuse_loop_cfg_destroy(config); }
};

std::string reason(std::string_view otherwise) {
  const std::scoped_lock lock(complaint_mutex);
  return last_complaint.empty() ? std::string(otherwise) : last_complaint;
}

}  // namespace

void Session::Destroy::operator()(fuse_session* session) const { fuse_session_destroy(session); }

void block_handover_signal() {
  const sigset_t set = handover_signal();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

Session::Session(Filesystem& filesystem, const SessionOptions& options)
    : filesystem_(filesystem), options_(options) {
  fuse_set_log_func(log_from_libfuse);
  Arguments arguments(options_);
  set_complaint("");
  session_.reset(fuse_session_new(arguments.get(), &Filesystem::operations(),
                                  sizeof(fuse_lowlevel_ops), &filesystem));
  if (!session_) {
    throw base::Error(EINVAL, "cannot make a FUSE session: {}", reason("an option is not known"));
  }
}

Session::~Session() {
  if (mounted_) fuse_session_unmount(session_.get());
  if (unmount_ && !is_gone(descriptor())) unmount_();
}

void Session::mount(const std::string& mount_point) {
  set_complaint("");
  errno = 0;
  if (fuse_session_mount(session_.get(), mount_point.c_str()) != 0) {
    const int error = errno != 0 ? errno : EIO;
    throw base::Error(error, "cannot mount at {}: {}", mount_point,
                      reason("see the lines before this one"));
  }
  mounted_ = true;
  // After the mount, which gives the session its descriptor: no message has been read yet.
  install_hook(session_.get(), fuse_session_fd(session_.get()));
}

void Session::adopt(int fuse_fd, std::function<void()> unmount) {
  install_hook(session_.get(), fuse_fd);
  unmount_ = std::move(unmount);
  // The message of the past, before a thread of the loop may read one of now.
  fuse_buf message{};
  if (fuse_session_receive_buf(session_.get(), &message) > 0) {
    fuse_session_process_buf(session_.get(), &message);
  }
  std::free(message.mem);  // NOLINT(cppcoreguidelines-no-malloc): libfuse's own
}

int Session::descriptor() const { return fuse_session_fd(session_.get()); }

// Ends the loop of a session when SIGUSR2 asks for it, for as long as this object lives.
class Session::HandoverWatch {
 public:
  explicit HandoverWatch(Session& session) : session_(session) {
    if (!signals_ || !end_) throw base::system_error("cannot wait for signals");
    thread_ = std::thread([this] { watch(); });
  }
  HandoverWatch(const HandoverWatch&) = delete;
  HandoverWatch& operator=(const HandoverWatch&) = delete;
  ~HandoverWatch() {
    eventfd_write(end_.get(), 1);
    thread_.join();
  }

 private:
  static int open_signals() {
    const sigset_t set = handover_signal();
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  }

  void watch() {
    while (true) {
      std::array<pollfd, 2> wanted{pollfd{signals_.get(), POLLIN, 0},
                                   pollfd{end_.get(), POLLIN, 0}};
      if (poll(wanted.data(), wanted.size(), -1) < 0) continue;
      if (wanted[1].revents != 0) return;
      signalfd_siginfo asked{};
      if (read(signals_.get(), &asked, sizeof(asked)) < 0) continue;
      ReaderGate& gate = session_.filesystem_.hook().gate();
      if (!gate.close(kPatience)) {
        spdlog::error("no handover: a request takes longer than {} s", kPatience.count());
        continue;
      }
      session_.handing_over_ = true;
      // First the end, then the readers: none of them is to take another message.
      fuse_session_exit(session_.session_.get());
      gate.open();
      return;
    }
  }

  Session& session_;
  const base::FileDescriptor signals_{open_signals()};
  const base::FileDescriptor end_{eventfd(0, EFD_CLOEXEC)};
  std::thread thread_;
};

Ended Session::run() {
  handing_over_ = false;
  fuse_session_reset(session_.get());
  if (fuse_set_signal_handlers(session_.get()) != 0) {
    throw base::Error(EIO, "cannot install signal handlers: {}", reason("no reason given"));
  }
  int result = 0;
  if (options_.debug) {
    const HandoverWatch watch(*this);
    result = fuse_session_loop(session_.get());
  } else {
    const std::unique_ptr<fuse_loop_config, DestroyLoopConfig> config(fuse_loop_cfg_create());
    if (!config) throw std::bad_alloc();
    fuse_loop_cfg_set_clone_fd(config.get(), options_.clone_fd ? 1 : 0);
    if (options_.max_threads != 0) {
      fuse_loop_cfg_set_max_threads(config.get(), options_.max_threads);
    }
    const HandoverWatch watch(*this);
    result = fuse_session_loop_mt(session_.get(), config.get());
  }
  fuse_remove_signal_handlers(session_.get());
  // Positive: the number of the signal that ended it, which is how a daemon is asked to end.
  if (result < 0) throw base::Error(-result, "serving FUSE requests failed: {}", reason("libfuse"));
  if (result > 0) spdlog::info("ended by signal {}", result);
  return handing_over_ && result == 0 ? Ended::kToHandOver : Ended::kForGood;
}

void Session::stop() { fuse_session_exit(session_.get()); }

void Session::forget_contents(tree::NodeId highest) {
  for (tree::NodeId node = tree::kRoot; node <= highest; ++node) {
    // ENOENT for nodes that the kernel does not have, which is most of them.
    fuse_lowlevel_notify_inval_inode(session_.get(), node, 0, 0);
  }
}

}  // namespace famfs::fuse
