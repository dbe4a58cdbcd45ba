// SPDX-License-Identifier: Apache-2.0
#include "fuse/session.h"

#include <fuse_log.h>
#include <spdlog/spdlog.h>

#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <string_view>

#include "base/error.h"
#include "fuse/hooked_io.h"

namespace famfs::fuse {
namespace {

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

Session::Session(Filesystem& filesystem, const SessionOptions& options) : options_(options) {
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

void Session::run() {
  if (fuse_set_signal_handlers(session_.get()) != 0) {
    throw base::Error(EIO, "cannot install signal handlers: {}", reason("no reason given"));
  }
  int result = 0;
  if (options_.debug) {
    result = fuse_session_loop(session_.get());
  } else {
    const std::unique_ptr<fuse_loop_config, DestroyLoopConfig> config(fuse_loop_cfg_create());
    if (!config) throw std::bad_alloc();
    fuse_loop_cfg_set_clone_fd(config.get(), options_.clone_fd ? 1 : 0);
    if (options_.max_threads != 0) {
      fuse_loop_cfg_set_max_threads(config.get(), options_.max_threads);
    }
    result = fuse_session_loop_mt(session_.get(), config.get());
  }
  fuse_remove_signal_handlers(session_.get());
  // Positive: the number of the signal that ended it, which is how a daemon is asked to end.
  if (result < 0) throw base::Error(-result, "serving FUSE requests failed: {}", reason("libfuse"));
  if (result > 0) spdlog::info("ended by signal {}", result);
}

void Session::stop() { fuse_session_exit(session_.get()); }

void Session::forget_contents(tree::NodeId highest) {
  for (tree::NodeId node = tree::kRoot; node <= highest; ++node) {
    // ENOENT for nodes that the kernel does not have, which is most of them.
    fuse_lowlevel_notify_inval_inode(session_.get(), node, 0, 0);
  }
}

}  // namespace famfs::fuse
