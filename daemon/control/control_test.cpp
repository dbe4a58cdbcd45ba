// SPDX-License-Identifier: Apache-2.0
// Contract: the run directory is private, held by one daemon and taken over from a dead one; the
// control socket answers HTTP, refuses bad levels and leaves nothing behind.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "control/logging.h"
#include "control/run_directory.h"
#include "control/server.h"
#include "control/status.h"

namespace famfs::control {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

class Control : public testing::Test {
 public:
  ~Control() override { fs::remove_all(root_); }

 protected:
  Control() {
    std::string name = (fs::temp_directory_path() / "famfs-control-XXXXXX").string();
    root_ = mkdtemp(name.data());
  }

  // The whole answer to one HTTP request.
  static std::string ask(const std::string& socket_path, const std::string& request) {
    const base::FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket_path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      return "no connection";
    }
    const auto sent = write(fd.get(), request.data(), request.size());
    EXPECT_EQ(sent, static_cast<ssize_t>(request.size()));
    std::string answer;
    char buffer[512];
    ssize_t got = 0;
    while ((got = read(fd.get(), buffer, sizeof(buffer))) > 0) {
      answer.append(buffer, static_cast<std::size_t>(got));
    }
    return answer;
  }

  static std::string get(const std::string& path) {
    return "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  }

  static std::string put(const std::string& path, const std::string& body) {
    return "PUT " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\n\r\n" + body;
  }

  fs::path root_;
};

TEST_F(Control, RunDirectoryIsPrivateAndRemovedAtTheEnd) {
  fs::path path;
  {
    const RunDirectory run = RunDirectory::create(root_ / "run", "/mnt/famfs");
    path = run.path();
    EXPECT_EQ(path.filename(), "mnt-famfs");
    struct stat attributes = {};
    ASSERT_EQ(stat(path.c_str(), &attributes), 0);
    EXPECT_EQ(attributes.st_mode & 07777, 0700U);
    std::ofstream(run.log_path()) << "x";
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(Control, TwoLiveDaemonsGetDifferentDirectories) {
  const RunDirectory first = RunDirectory::create(root_, "/mnt/a");
  const RunDirectory second = RunDirectory::create(root_, "/mnt/a");
  EXPECT_NE(first.path(), second.path());
}

TEST_F(Control, DirectoryOfADeadDaemonIsTakenOverAndItsLogKept) {
  fs::create_directory(root_ / "mnt-a");
  fs::permissions(root_ / "mnt-a", fs::perms::owner_all);
  std::ofstream(root_ / "mnt-a" / "famfsd.log") << "last words";
  const RunDirectory run = RunDirectory::create(root_, "/mnt/a");
  EXPECT_EQ(run.path(), root_ / "mnt-a");
  EXPECT_TRUE(fs::exists(root_ / "mnt-a" / "famfsd.log.1"));
}

TEST_F(Control, DirectoryOpenToOthersIsRefused) {
  fs::create_directory(root_ / "mnt-a");
  fs::permissions(root_ / "mnt-a", fs::perms::all);
  EXPECT_THROW(RunDirectory::create(root_, "/mnt/a"), base::Error);
}

TEST_F(Control, GivenDirectoryIsForOneDaemon) {
  const RunDirectory run = RunDirectory::at(root_ / "given");
  EXPECT_THROW(RunDirectory::at(root_ / "given"), base::Error);
}

TEST_F(Control, LongMountPointsHaveShortDistinctNames) {
  const std::string one = "/" + std::string(300, 'a') + "/m";
  const std::string two = "/" + std::string(300, 'b') + "/m";
  EXPECT_LE(RunDirectory::instance_name(one).size(), 64U);
  EXPECT_NE(RunDirectory::instance_name(one), RunDirectory::instance_name(two));
}

TEST_F(Control, SocketAnswersAndRefuses) {
  const RunDirectory run = RunDirectory::at(root_ / "run");
  open_log(run.log_path(), false);
  bool dumped = false;
  const Server server(run.fd(), {[] { return std::string("nodes: 1\n"); }, [&] { dumped = true; },
                                 [] { return std::string("{}\n"); }});
  struct stat attributes = {};
  ASSERT_EQ(stat(run.socket_path().c_str(), &attributes), 0);
  EXPECT_EQ(attributes.st_mode & 07777, 0600U);

  EXPECT_THAT(ask(run.socket_path(), get("/pid")), HasSubstr(std::to_string(getpid())));
  EXPECT_THAT(ask(run.socket_path(), get("/icache_stats")), HasSubstr("nodes: 1"));
  EXPECT_THAT(ask(run.socket_path(), get("/status")), HasSubstr("application/json"));
  EXPECT_THAT(ask(run.socket_path(), get("/icache_dump")), StartsWith("HTTP/1.1 200"));
  EXPECT_TRUE(dumped);
  EXPECT_THAT(ask(run.socket_path(), get("/nothing")), StartsWith("HTTP/1.1 404"));

  EXPECT_THAT(ask(run.socket_path(), put("/log_level", "4")), StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(log_level(), 4);
  for (const char* bad : {"8", "-1", "", "x", "4x", "99999999999"}) {
    EXPECT_THAT(ask(run.socket_path(), put("/log_level", bad)), StartsWith("HTTP/1.1 400")) << bad;
  }
  EXPECT_EQ(log_level(), 4);
}

// Sends without end until it is cut off.
void flood(const std::string& socket_path, const std::string& first, const std::string& again) {
  const base::FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ssize_t sent = send(fd.get(), first.data(), first.size(), MSG_NOSIGNAL);
  for (int i = 0; sent > 0 && i < 1'000'000; ++i) {
    sent = send(fd.get(), again.data(), again.size(), MSG_NOSIGNAL);
  }
  EXPECT_LT(sent, 0) << "never cut off";
}

TEST_F(Control, HostileRequestsAreCutOff) {
  const RunDirectory run = RunDirectory::at(root_ / "run");
  open_log(run.log_path(), false);
  const Server server(run.fd(),
                      {[] { return std::string(); }, [] {}, [] { return std::string(); }});
  const std::string path = run.socket_path();
  const std::string first = "GET /pid HTTP/1.1\r\n";
  flood(path, first, "A: b\r\n");
  flood(path, first, std::string(1000, 'x'));
  flood(path, "GET /", std::string(1000, 'x'));
  flood(path, "PUT /log_level HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", "7777");
  flood(path, "PUT /log_level HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n7\r\n");
  // Connections that say nothing take no descriptor of the daemon but one at a time.
  const auto descriptors = [] {
    return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
  };
  std::vector<base::FileDescriptor> silent;
  const auto before = descriptors();
  for (int i = 0; i < 200; ++i) {
    silent.emplace_back(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    // Those for which the backlog has no room are refused, which is as good.
    EXPECT_TRUE(
        connect(silent.back().get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 ||
        errno == EAGAIN);
  }
  EXPECT_LE(descriptors() - before - 200, 1);
  // The first of them is cut off after its time, although it said nothing.
  char byte = 0;
  ASSERT_EQ(fcntl(silent.front().get(), F_SETFL, 0), 0);
  EXPECT_EQ(read(silent.front().get(), &byte, 1), 0);
  silent.clear();
  EXPECT_THAT(ask(path, get("/pid")), HasSubstr(std::to_string(getpid())));
}

TEST_F(Control, OtherMethodsAndPathsAreNotFound) {
  const RunDirectory run = RunDirectory::at(root_ / "run");
  open_log(run.log_path(), false);
  const Server server(run.fd(),
                      {[] { return std::string(); }, [] {}, [] { return std::string(); }});
  for (const char* request : {"POST /pid", "PUT /status", "DELETE /log_level", "GET /inodes",
                              "GET /../etc/passwd", "GET /pid/"}) {
    EXPECT_THAT(ask(run.socket_path(),
                    std::string(request) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
                StartsWith("HTTP/1.1 404"))
        << request;
  }
  EXPECT_THAT(ask(run.socket_path(), "nonsense\r\n\r\n"), testing::Not(StartsWith("HTTP/1.1 2")));
}

TEST_F(Control, SocketPathLongerThanAnAddressHolds) {
  const fs::path deep = root_ / std::string(120, 'd');
  const RunDirectory run = RunDirectory::at(deep);
  const Server server(run.fd(),
                      {[] { return std::string(); }, [] {}, [] { return std::string(); }});
  EXPECT_TRUE(fs::exists(deep / "sock"));
}

}  // namespace
}  // namespace famfs::control
