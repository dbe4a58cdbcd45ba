// SPDX-License-Identifier: Apache-2.0
#include "control/server.h"

#include <fmt/format.h>
#include <httplib.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <functional>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "control/logging.h"

namespace famfs::control {
namespace {

constexpr int kBacklog = 8;
constexpr std::size_t kLargestBody = 64;
constexpr std::size_t kLargestRequest = 16384;
// For a whole connection: a client that sends nothing, or for ever, must not hold the thread.
constexpr std::chrono::seconds kConnectionTime{2};

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

// One connection, with an end to its time and to what it may send.
class Connection final : public httplib::Stream {
 public:
  explicit Connection(int fd) : fd_(fd) {}

  bool is_readable() const override { return begin_ < end_ || wait(POLLIN); }
  bool is_writable() const override { return wait(POLLOUT); }

  ssize_t read(char* to, size_t size) override {
    if (begin_ == end_ && !fill()) return -1;
    const std::size_t count = std::min(size, end_ - begin_);
    std::copy_n(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_), count, to);
    begin_ += count;
    return static_cast<ssize_t>(count);
  }

  ssize_t write(const char* from, size_t size) override {
    if (!wait(POLLOUT)) return -1;
    return send(fd_.get(), from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  void get_remote_ip_and_port(std::string& ip, int& port) const override { no_address(ip, port); }
  void get_local_ip_and_port(std::string& ip, int& port) const override { no_address(ip, port); }
  socket_t socket() const override { return fd_.get(); }

 private:
  static void no_address(std::string& ip, int& port) {
    ip.clear();
    port = 0;
  }

  bool wait(short event) const {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end_of_time_ - std::chrono::steady_clock::now());
    pollfd wanted{fd_.get(), event, 0};
    return left.count() > 0 && poll(&wanted, 1, static_cast<int>(left.count())) == 1;
  }

  bool fill() {
    const std::size_t room = std::min(buffer_.size(), kLargestRequest - received_);
    if (room == 0 || !wait(POLLIN)) return false;
    const ssize_t count = recv(fd_.get(), buffer_.data(), room, MSG_DONTWAIT);
    if (count <= 0) return false;
    begin_ = 0;
    end_ = static_cast<std::size_t>(count);
    received_ += end_;
    return true;
  }

  base::FileDescriptor fd_;
  std::chrono::steady_clock::time_point end_of_time_ =
      std::chrono::steady_clock::now() + kConnectionTime;
  std::array<char, 4096> buffer_{};
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t received_ = 0;
};

// Serves a connection before the next is accepted: what waits, waits in the kernel, which bounds
// it.
class OneByOne final : public httplib::TaskQueue {
 public:
  using Result = decltype(std::declval<httplib::TaskQueue&>().enqueue({}));

  Result enqueue(std::function<void()> serve) override {
    serve();
    return Result(true);
  }
  void shutdown() override {}
};

}  // namespace

// httplib of Debian 12 cannot listen on unix sockets itself; it serves one that it is given.
class Server::Implementation : public httplib::Server {
 public:
  explicit Implementation(int fd) : listening_fd(fd) { svr_sock_ = fd; }

  const int listening_fd;
  std::thread thread;

 private:
  // httplib's own bounds neither the number of headers nor the time of a connection that goes on.
  bool process_and_close_socket(socket_t fd) override {
    Connection connection(fd);
    bool closed = false;
    return serve(*this, connection, closed);
  }

  // Newer versions of httplib are told the addresses.
  template <typename Self>
  static bool serve(Self& self, Connection& connection, bool& closed) {
    if constexpr (requires { self.process_request(connection, true, closed, nullptr); }) {
      return self.process_request(connection, true, closed, nullptr);
    } else {
      return self.process_request(connection, "", 0, "", 0, true, closed, nullptr);
    }
  }
};

Server::Server(int directory_fd, Reports reports) {
  implementation_ = std::make_unique<Implementation>(listen_in(directory_fd));
  httplib::Server& server = *implementation_;
  server.new_task_queue = [] { return new OneByOne; };  // httplib's to delete
  server.set_payload_max_length(kLargestBody);

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
