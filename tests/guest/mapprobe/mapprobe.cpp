// SPDX-License-Identifier: Apache-2.0
//
// What a program does with a file, as one command for each thing; for the mapping suite. Runs in
// guests, linked statically. Exit status: 0 as expected, 1 not (what, on standard error), 2 usage.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "calls.h"
#include "probe.h"

namespace probe {
namespace {

// store FILE OFFSET LENGTH SEED
void store(const Arguments& arguments) {
  const File file(arguments.at(0));
  const std::uint64_t offset = number(arguments.at(1));
  const std::uint64_t length = number(arguments.at(2));
  const std::uint64_t seed = number(arguments.at(3));
  require(offset + length <= file.size(), "range outside of the file");
  std::uint8_t* const at = file.map();
  for (std::uint64_t i = offset; i < offset + length; ++i) at[i] = pattern(i, seed);
  flush(at + offset, length);
}

// load FILE OFFSET LENGTH SEED
void load(const Arguments& arguments) {
  const File file(arguments.at(0), O_RDONLY);
  const std::uint64_t offset = number(arguments.at(1));
  const std::uint64_t length = number(arguments.at(2));
  const std::uint64_t seed = number(arguments.at(3));
  require(offset + length <= file.size(), "range outside of the file");
  const std::uint8_t* const at = file.map(PROT_READ);
  flush(at + offset, length);
  for (std::uint64_t i = offset; i < offset + length; ++i) {
    if (at[i] != pattern(i, seed)) fail("byte " + std::to_string(i) + " differs");
  }
}

// An offset and length that like to touch borders of pages, chunks and the file.
std::pair<std::uint64_t, std::uint64_t> a_range(std::mt19937_64& random, std::uint64_t size) {
  static constexpr std::array<std::uint64_t, 5> kLengths{1, 100, kPage, 70'001, 5 * kMiB};
  std::uint64_t offset = random() % size;
  if (random() % 2 == 0) {
    const std::uint64_t border = (offset / kPmd + 1) * kPmd;
    const std::uint64_t back = random() % (2 * kPage);
    offset = std::min(border - back, size - 1);
  }
  const std::uint64_t length = 1 + random() % kLengths.at(random() % kLengths.size());
  return {offset, std::min(length, size - offset)};
}

std::vector<std::uint8_t> content_of(const File& file, std::uint64_t start, std::uint64_t length) {
  std::vector<std::uint8_t> content(length);
  std::uint64_t done = 0;
  while (done < content.size()) {
    const ssize_t got = pread(file.fd(), content.data() + done, content.size() - done,
                              static_cast<off_t>(start + done));
    if (got <= 0) fail_errno("reading all of it");
    done += static_cast<std::uint64_t>(got);
  }
  return content;
}

// read(2), write(2), O_DIRECT, and loads and stores where `map` gives a mapping, agree with a
// model.
void agree(const Arguments& arguments, std::uint8_t* (*map)(const File&)) {
  const File file(arguments.at(0));
  const File direct(arguments.at(0), O_RDWR | O_DIRECT);
  std::mt19937_64 random(number(arguments.at(1)));
  const bool all = arguments.size() < 5;
  const std::uint64_t start = all ? 0 : number(arguments.at(3));
  const std::uint64_t size = all ? file.size() : number(arguments.at(4));
  std::uint8_t* const whole = map(file);
  std::uint8_t* const mapped = whole == nullptr ? nullptr : whole + start;
  std::vector<std::uint8_t> expected = content_of(file, start, size);
  std::vector<std::uint8_t> buffer(6 * kMiB);
  for (std::uint64_t round = 0; round < number(arguments.at(2)); ++round) {
    const auto [offset, length] = a_range(random, size);
    const std::string where = "round " + std::to_string(round) + ", offset " +
                              std::to_string(offset) + ", length " + std::to_string(length);
    const int fd = random() % 2 == 0 ? file.fd() : direct.fd();
    switch (random() % (mapped == nullptr ? 2 : 4)) {
      case 0:
        for (std::uint64_t i = 0; i < length; ++i) {
          buffer[i] = expected[offset + i] = static_cast<std::uint8_t>(random());
        }
        require(pwrite(fd, buffer.data(), length, static_cast<off_t>(start + offset)) ==
                    static_cast<ssize_t>(length),
                "write, " + where);
        break;
      case 2:
        for (std::uint64_t i = 0; i < length; ++i) {
          mapped[offset + i] = expected[offset + i] = static_cast<std::uint8_t>(random());
        }
        break;
      case 1:
        require(pread(fd, buffer.data(), length, static_cast<off_t>(start + offset)) ==
                    static_cast<ssize_t>(length),
                "read, " + where);
        require(std::memcmp(buffer.data(), expected.data() + offset, length) == 0,
                "read other bytes, " + where);
        break;
      default:
        require(std::memcmp(mapped + offset, expected.data() + offset, length) == 0,
                "loaded other bytes, " + where);
    }
  }
  require(content_of(file, start, size) == expected, "other bytes at the end");
  if (mapped != nullptr) flush(mapped, size);
}

// model FILE SEED ROUNDS [START LENGTH]: read(2), write(2), O_DIRECT, loads and stores agree with a
// model, in the whole file or that part of it.
void model(const Arguments& arguments) {
  agree(arguments, [](const File& file) { return file.map(); });
}

// io-model FILE SEED ROUNDS: the same without a mapping.
void io_model(const Arguments& arguments) {
  agree(arguments, [](const File&) -> std::uint8_t* { return nullptr; });
}

// private FILE: a private mapping keeps its changes for itself.
void private_mapping(const Arguments& arguments) {
  const File file(arguments.at(0));
  std::uint8_t* const shared = file.map();
  std::uint8_t* const mine = file.map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
  shared[10] = 1;
  require(mine[10] == 1, "a private mapping does not show the file");
  mine[10] = 2;
  mine[kPmd + 5] = 77;
  require(shared[10] == 1 && shared[kPmd + 5] != 77, "a private store reached the file");
  shared[10] = 3;
  require(mine[10] == 2, "the private copy was lost");
  require(touch(mine + 2 * kPage, true) == 0, "private store into another page");
}

// fork FILE: parent and child share the mapping.
void fork_mapping(const Arguments& arguments) {
  const File file(arguments.at(0));
  std::uint8_t* const at = file.map();
  at[0] = 1;
  const pid_t child = fork();
  if (child == 0) {
    const bool seen = at[0] == 1;
    at[1] = 42;
    at[kPmd + 1] = 43;
    _exit(seen ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  require(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child saw another byte");
  require(at[1] == 42 && at[kPmd + 1] == 43, "the child's stores are not seen");
}

// mremap FILE: a mapping moves, shrinks and grows with its bytes.
void remap(const Arguments& arguments) {
  const File file(arguments.at(0));
  std::uint8_t* at = file.map();
  for (std::uint64_t i = 0; i < file.size(); i += kPage) at[i] = pattern(i, 5);
  const std::uint64_t half = file.size() / 2 / kPage * kPage;
  require(mremap(at, file.size(), half, 0) == at, "shrinking");
  auto* const moved = static_cast<std::uint8_t*>(mremap(at, half, file.size(), MREMAP_MAYMOVE));
  require(moved != MAP_FAILED, "growing and moving");
  void* const elsewhere = mmap(nullptr, file.size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  auto* const last = static_cast<std::uint8_t*>(
      mremap(moved, file.size(), file.size(), MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere));
  require(last == elsewhere, "moving to an address");
  for (std::uint64_t i = 0; i < file.size(); i += kPage) {
    require(last[i] == pattern(i, 5), "byte " + std::to_string(i) + " after moving");
  }
}

// madvise FILE: advice changes no byte.
void advise(const Arguments& arguments) {
  const File file(arguments.at(0));
  std::uint8_t* const at = file.map();
  const std::uint64_t whole = file.size() / kPage * kPage;
  for (std::uint64_t i = 0; i < whole; i += kPage) at[i] = pattern(i, 6);
  static constexpr std::array kAdvice{MADV_WILLNEED, MADV_DONTNEED, MADV_SEQUENTIAL,
                                      MADV_RANDOM,   MADV_HUGEPAGE, MADV_COLD,
                                      MADV_NORMAL,   MADV_DONTFORK, MADV_DOFORK};
  for (const int advice : kAdvice) {
    // What makes no sense for this memory may be refused; nothing may be lost.
    if (madvise(at, whole, advice) != 0) require(errno == EINVAL, std::strerror(errno));
    for (std::uint64_t i = 0; i < whole; i += kPage) {
      require(at[i] == pattern(i, 6), "advice " + std::to_string(advice) + " changed a byte");
    }
  }
  require(msync(at, whole, MS_SYNC) == 0, "msync");
  require(mlock(at, kPage) == 0 && munlock(at, kPage) == 0, "mlock");
}

// sparse FILE SEED: single bytes far apart, without the pages in between.
void sparse(const Arguments& arguments) {
  const File file(arguments.at(0));
  std::uint8_t* const at = file.map();
  std::mt19937_64 random(number(arguments.at(1)));
  std::map<std::uint64_t, std::uint8_t> stored;
  for (int i = 0; i < 300; ++i) {
    const std::uint64_t offset = random() % file.size();
    at[offset] = stored[offset] = static_cast<std::uint8_t>(random());
  }
  for (const auto& [offset, value] : stored) {
    std::uint8_t read = 0;
    require(pread(file.fd(), &read, 1, static_cast<off_t>(offset)) == 1 && read == value,
            "byte " + std::to_string(offset));
  }
}

// large-pages FILE: stores into each large page of the file, without a load that would fault first.
void large_pages(const Arguments& arguments) {
  const File file(arguments.at(0));
  volatile std::uint8_t* const at = file.map();
  for (std::uint64_t i = 0; i < file.size(); i += kPmd) at[i] = 1;
  std::printf("%llu\n", static_cast<unsigned long long>((file.size() + kPmd - 1) / kPmd));
}

// many DIRECTORY COUNT: files 0 .. COUNT-1 open and mapped at the same time, each its own bytes.
void many(const Arguments& arguments) {
  const std::uint64_t count = number(arguments.at(1));
  std::vector<std::unique_ptr<File>> files;
  std::vector<std::uint8_t*> maps;
  for (std::uint64_t i = 0; i < count; ++i) {
    files.push_back(std::make_unique<File>(arguments.at(0) + "/" + std::to_string(i)));
    maps.push_back(files.back()->map());
    maps.back()[i % files.back()->size()] = pattern(i, 9);
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint8_t read = 0;
    const auto offset = static_cast<off_t>(i % files[i]->size());
    require(pread(files[i]->fd(), &read, 1, offset) == 1 && read == pattern(i, 9),
            "file " + std::to_string(i));
  }
}

// together FILE PROCESSES: processes that open the file by themselves add to the same counters.
void together(const Arguments& arguments) {
  constexpr int kRounds = 20000;
  const std::uint64_t processes = number(arguments.at(1));
  const auto counters = [](std::uint8_t* at) { return reinterpret_cast<std::uint64_t*>(at); };
  const File file(arguments.at(0));
  std::uint64_t* const mine = counters(file.map());
  mine[0] = mine[kPmd / 8] = 0;
  std::vector<pid_t> children;
  for (std::uint64_t i = 0; i < processes; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      const File own(arguments.at(0));
      std::uint64_t* const at = counters(own.map());
      for (int round = 0; round < kRounds; ++round) {
        __atomic_fetch_add(&at[0], 1, __ATOMIC_SEQ_CST);
        __atomic_fetch_add(&at[kPmd / 8], 1, __ATOMIC_SEQ_CST);
      }
      _exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    require(status == 0, "a child failed");
  }
  require(mine[0] == processes * kRounds && mine[kPmd / 8] == processes * kRounds,
          "lost additions");
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
}

std::string answer_to(const std::string& verb, std::uint64_t offset, const File& file,
                      std::uint8_t* at) {
  std::uint8_t byte = 0;
  if (verb == "load" || verb == "store") {
    const int code = touch(at + offset, verb == "store");
    if (code != 0) return "sigbus " + std::to_string(code);
    return std::to_string(at[offset]);
  }
  if (verb == "read") {
    if (pread(file.fd(), &byte, 1, static_cast<off_t>(offset)) == 1) return std::to_string(byte);
    return std::string("errno ") + std::to_string(errno);
  }
  if (verb == "write") {
    byte = 1;
    if (pwrite(file.fd(), &byte, 1, static_cast<off_t>(offset)) == 1) return "ok";
    return std::string("errno ") + std::to_string(errno);
  }
  if (verb == "map") {
    void* const again = mmap(nullptr, kPage, PROT_READ, MAP_SHARED, file.fd(), 0);
    return again == MAP_FAILED ? std::string("errno ") + std::to_string(errno) : "ok";
  }
  return "what?";
}

// VERB OFFSET, or `use OFFSET...`: each byte in all four ways, an answer for each that works is ok.
std::string answer_to(const std::string& command, const File& file, std::uint8_t* at) {
  std::istringstream words(command);
  std::string verb;
  std::uint64_t offset = 0;
  words >> verb;
  if (verb != "use") {
    words >> offset;
    return answer_to(verb, offset, file, at);
  }
  std::string answer;
  while (words >> offset) {
    if (!answer.empty()) answer += '\n';
    for (const char* const way : {"load", "store", "read", "write"}) {
      const std::string got = answer_to(way, offset, file, at);
      if (answer.size() > 0 && answer.back() != '\n') answer += ", ";
      answer += got.find(' ') == std::string::npos ? "ok" : got;
    }
  }
  return answer;
}

// hold SOCKET FILE [touch]: maps FILE and answers `ask` until told to end; returns when it does.
void hold(const Arguments& arguments) {
  const File file(arguments.at(1));
  std::uint8_t* const at = file.map();
  const int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(arguments.at(0));
  unlink(address.sun_path);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(listener, 4) != 0) {
    fail_errno("socket");
  }
  std::array<int, 2> ready{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ready.data()) != 0) fail_errno("pair");
  const pid_t child = fork();
  if (child < 0) fail_errno("fork");
  char byte = 0;
  if (child != 0) {
    // A close takes the pages out of all mappings to write them back, so not after the touches.
    close(file.fd());
    close(ready[1]);
    _exit(write(ready[0], "c", 1) == 1 && read(ready[0], &byte, 1) == 1 ? 0 : 1);
  }
  close(ready[0]);
  require(read(ready[1], &byte, 1) == 1, "waiting for the close");
  // Here, as a child has the mappings of its parent, but not the pages in them.
  if (arguments.size() > 2) {
    for (std::uint64_t i = 0; i < file.size(); i += kPage)
      require(touch(at + i, true) == 0, "touch");
  }
  require(write(ready[1], "r", 1) == 1, "saying so");
  setsid();
  for (const int fd : {0, 1, 2, ready[1]}) {
    dup2(open("/dev/null", O_RDWR), fd);
  }
  while (true) {
    const int peer = accept(listener, nullptr, nullptr);
    std::array<char, 1024> buffer{};
    const ssize_t length = recv(peer, buffer.data(), buffer.size() - 1, 0);
    const std::string command(buffer.data(), length < 0 ? 0 : static_cast<std::size_t>(length));
    const std::string answer = command == "end" ? "ended" : answer_to(command, file, at);
    if (command == "end") munmap(at, file.size());
    send(peer, answer.data(), answer.size(), MSG_NOSIGNAL);
    close(peer);
    if (command == "end") return;
  }
}

// ask SOCKET WORD...
void ask(const Arguments& arguments) {
  const int peer = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(arguments.at(0));
  if (connect(peer, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    fail_errno("connect");
  }
  std::string command;
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    command += (i == 1 ? "" : " ") + arguments[i];
  }
  send(peer, command.data(), command.size(), 0);
  std::array<char, 1024> buffer{};
  const ssize_t length = recv(peer, buffer.data(), buffer.size() - 1, 0);
  if (length <= 0) fail("no answer");
  std::printf("%s\n", buffer.data());
}

// get SOCKET PATH: asks an HTTP server that listens on a socket.
void get(const Arguments& arguments) {
  const int peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(arguments.at(0));
  if (connect(peer, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    fail_errno("connect");
  }
  const std::string request =
      "GET " + arguments.at(1) + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  send(peer, request.data(), request.size(), 0);
  std::array<char, 4096> buffer{};
  ssize_t length = 0;
  while ((length = recv(peer, buffer.data(), buffer.size(), 0)) > 0) {
    std::fwrite(buffer.data(), 1, static_cast<std::size_t>(length), stdout);
  }
}

// hello: what `exec` of this program from a mapped file shows.
void hello(const Arguments&) { std::puts("hello"); }

const std::map<std::string, void (*)(const Arguments&)> kCommands = {
    {"store", store},
    {"load", load},
    {"model", model},
    {"io-model", io_model},
    {"ends", ends},
    {"refused", refused},
    {"vectors", vectors},
    {"copies", copies},
    {"bad-buffers", bad_buffers},
    {"beyond", beyond},
    {"closed", closed},
    {"private", private_mapping},
    {"fork", fork_mapping},
    {"mremap", remap},
    {"madvise", advise},
    {"sparse", sparse},
    {"large-pages", large_pages},
    {"many", many},
    {"together", together},
    {"hold", hold},
    {"ask", ask},
    {"get", get},
    {"hello", hello},
};

}  // namespace
}  // namespace probe

int main(int argc, char** argv) {
  const auto found = argc < 2 ? probe::kCommands.end() : probe::kCommands.find(argv[1]);
  if (found == probe::kCommands.end()) {
    std::fputs("usage: mapprobe COMMAND ARGUMENT...\n", stderr);
    return 2;
  }
  try {
    found->second(probe::Arguments(argv + 2, argv + argc));
  } catch (const std::exception& error) {
    probe::fail(error.what());
  }
  return 0;
}
