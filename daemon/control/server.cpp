// SPDX-License-Identifier: Apache-2.0
#include "control/server.h"

#include <fmt/format.h>
#include <httplib.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <thread>
#include <utility>

#include "base/error.h"
#include "control/logging.h"

namespace famfs::control {
namespace {

constexpr int kBacklog = 8;
constexpr std::size_t kLargestBody = 64;
constexpr time_t kClientSeconds = 5;  // a client that sends nothing must not hold the thread

// Not by the path: it may be longer than sockaddr_un holds, and a directory cannot be swapped.
int listen_in(int directory_fd) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = fmt::format("/proc/self/fd/{}/sock", directory_fd);
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  // Mode before bind(2), so the socket is never open to others.
  if (fd < 0 || fchmod(fd, 0600) != 0 || bind(fd, generic, sizeof(address)) != 0 ||
      listen(fd, kBacklog) != 0) {
    const int error = errno;
    if (fd >= 0) close(fd);
    throw base::Error(error,
                      fmt::format("cannot open the control socket: {}", std::strerror(error)));
  }
  return fd;
}

void answer_level(const httplib::Request& request, httplib::Response& response) {
  int level = -1;
  const char* begin = request.body.data();
  const char* end = begin + request.body.size();
  while (end != begin && (end[-1] == '\n' || end[-1] == ' ')) --end;
  const auto [stop, error] = std::from_chars(begin, end, level);
  if (error != std::errc() || stop != end || level < 0 || level >= kLogLevels) {
    response.status = 400;
    response.set_content("log_level: the body must be a number from 0 (emergency) to 7 (debug)\n",
                         "text/plain");
    return;
  }
  set_log_level(level);
  spdlog::info("log level set to {}", level);
  response.set_content(fmt::format("{}\n", level), "text/plain");
}

}  // namespace

// httplib of Debian 12 cannot listen on unix sockets itself; it serves one that it is given.
class Server::Implementation : public httplib::Server {
 public:
  explicit Implementation(int fd) : listening_fd(fd) { svr_sock_ = fd; }

  const int listening_fd;
  std::thread thread;
};

Server::Server(int directory_fd, Reports reports) {
  implementation_ = std::make_unique<Implementation>(listen_in(directory_fd));
  httplib::Server& server = *implementation_;
  server.new_task_queue = [] { return new httplib::ThreadPool(1); };
  server.set_payload_max_length(kLargestBody);
  server.set_read_timeout(kClientSeconds, 0);
  server.set_write_timeout(kClientSeconds, 0);
  server.set_keep_alive_max_count(1);

  server.Get("/pid", [](const httplib::Request&, httplib::Response& response) {
    response.set_content(fmt::format("{}\n", getpid()), "text/plain");
  });
  server.Get("/icache_stats", [report = std::move(reports.icache_stats)](
                                  const httplib::Request&, httplib::Response& response) {
    response.set_content(report(), "text/plain");
  });
  server.Get("/icache_dump", [report = std::move(reports.icache_dump)](
                                 const httplib::Request&, httplib::Response& response) {
    report();
    response.set_content("dumped to the log\n", "text/plain");
  });
  server.Get("/status", [report = std::move(reports.status)](const httplib::Request&,
                                                             httplib::Response& response) {
    response.set_content(report(), "application/json");
  });
  server.Get("/log_level", [](const httplib::Request&, httplib::Response& response) {
    response.set_content(fmt::format("{}\n", log_level()), "text/plain");
  });
  server.Post("/log_level", answer_level);
  server.Put("/log_level", answer_level);
  implementation_->thread = std::thread([this] { implementation_->listen_after_bind(); });
}

Server::~Server() {
  // Ends accept(2) also when the thread has not come that far; the thread closes the socket.
  shutdown(implementation_->listening_fd, SHUT_RDWR);
  implementation_->thread.join();
}

}  // namespace famfs::control
