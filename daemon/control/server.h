// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace famfs::control {

// What the diagnostics answer with. Each is called from the server's thread at any time.
struct Reports {
  std::function<std::string()> icache_stats;  // text: counters of the name space
  std::function<void()> icache_dump;          // writes every node to the log
  std::function<std::string()> status;        // a JSON object
};

// HTTP over a unix socket, for `curl --unix-socket DIR/sock http://localhost/status`.
//
// GET /pid, /icache_stats, /icache_dump, /log_level, /status; POST or PUT /log_level with a
// number 0..7 as body; anything else 404. The socket has mode 0600 in a directory of mode 0700;
// nothing here changes the file system. Connections are served one by one, each for two seconds and
// 16 KiB at most.
class Server {
 public:
  // Listens on `sock` in the directory `directory_fd` and serves in one thread.
  // Throws base::Error.
  Server(int directory_fd, Reports reports);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace famfs::control
