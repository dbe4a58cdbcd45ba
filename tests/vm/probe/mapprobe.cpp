// SPDX-License-Identifier: Apache-2.0
//
// What a program does with a mapped file, as one command for each thing; for the mapping suite.
// Runs in guests, linked statically. Exit status: 0 as expected, 1 not (what, on standard error), 2
// usage.
#include <emmintrin.h>
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
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

namespace {

constexpr std::uint64_t kMiB = 1U << 20;
constexpr std::uint64_t kPmd = 2 * kMiB;
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kLine = 64;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "mapprobe: %s\n", what.c_str());
  std::exit(1);
}

[[noreturn]] void fail_errno(const std::string& what) { fail(what + ": " + std::strerror(errno)); }

void require(bool holds, const std::string& what) {
  if (!holds) fail(what);
}

// A byte that differs from those around it and in every seed.
std::uint8_t pattern(std::uint64_t offset, std::uint64_t seed) {
  const std::uint64_t mixed = (offset / 8 + 1) * 0x9e3779b97f4a7c15ULL * (2 * seed + 1);
  return static_cast<std::uint8_t>(mixed >> (8 * (offset % 8)));
}

class File {
 public:
  explicit File(const std::string& path, int flags = O_RDWR) : path_(path) {
    fd_ = open(path.c_str(), flags | O_CLOEXEC);
    if (fd_ < 0) fail_errno("open " + path);
    struct stat attributes = {};
    if (fstat(fd_, &attributes) != 0) fail_errno("stat " + path);
    size_ = static_cast<std::uint64_t>(attributes.st_size);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { close(fd_); }

  int fd() const { return fd_; }
  std::uint64_t size() const { return size_; }

  // At an address where large pages fit.
  std::uint8_t* map(int protection = PROT_READ | PROT_WRITE, int flags = MAP_SHARED) const {
    void* const room = mmap(nullptr, size_ + kPmd, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) fail_errno("room");
    const auto aligned = (reinterpret_cast<std::uintptr_t>(room) + kPmd - 1) & ~(kPmd - 1);
    void* const at =
        mmap(reinterpret_cast<void*>(aligned), size_, protection, flags | MAP_FIXED, fd_, 0);
    if (at == MAP_FAILED) fail_errno("mmap " + path_);
    return static_cast<std::uint8_t*>(at);
  }

 private:
  std::string path_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

// Writes back and drops the lines: what is stored here is in memory, what others stored is seen.
void flush(const std::uint8_t* start, std::uint64_t length) {
  const auto begin = reinterpret_cast<std::uintptr_t>(start) & ~(kLine - 1);
  const auto end = reinterpret_cast<std::uintptr_t>(start) + length;
  for (std::uintptr_t at = begin; at < end; at += kLine) _mm_clflush(reinterpret_cast<void*>(at));
  _mm_mfence();
}

sigjmp_buf jump;                 // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
volatile sig_atomic_t bus_code;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void on_sigbus(int, siginfo_t* info, void*) {
  bus_code = info->si_code;
  siglongjmp(jump, 1);
}

// 0, or the si_code of the SIGBUS that touching gives.
int touch(volatile std::uint8_t* at, bool write) {
  struct sigaction action = {};
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGBUS, &action, nullptr);
  if (sigsetjmp(jump, 1) != 0) return bus_code;
  const std::uint8_t value = *at;
  if (write) *at = value;
  return 0;
}

std::uint64_t number(const std::string& text) { return std::stoull(text); }

using Arguments = std::vector<std::string>;

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

std::vector<std::uint8_t> content_of(const File& file) {
  std::vector<std::uint8_t> content(file.size());
  std::uint64_t done = 0;
  while (done < content.size()) {
    const ssize_t length = pread(file.fd(), content.data() + done, content.size() - done,
                                 static_cast<off_t>(done));
    if (length <= 0) fail_errno("reading the whole file");
    done += static_cast<std::uint64_t>(length);
  }
  return content;
}

// read(2), write(2), O_DIRECT, and loads and stores where `map` gives a mapping, agree with a model.
void agree(const Arguments& arguments, std::uint8_t* (*map)(const File&)) {
  const File file(arguments.at(0));
  const File direct(arguments.at(0), O_RDWR | O_DIRECT);
  std::mt19937_64 random(number(arguments.at(1)));
  std::uint8_t* const mapped = map(file);
  std::vector<std::uint8_t> expected = content_of(file);
  std::vector<std::uint8_t> buffer(6 * kMiB);
  for (std::uint64_t round = 0; round < number(arguments.at(2)); ++round) {
    const auto [offset, length] = a_range(random, file.size());
    const std::string where = "round " + std::to_string(round) + ", offset " +
                              std::to_string(offset) + ", length " + std::to_string(length);
    const int fd = random() % 2 == 0 ? file.fd() : direct.fd();
    switch (random() % (mapped == nullptr ? 2 : 4)) {
      case 0:
        for (std::uint64_t i = 0; i < length; ++i) {
          buffer[i] = expected[offset + i] = static_cast<std::uint8_t>(random());
        }
        require(pwrite(fd, buffer.data(), length, static_cast<off_t>(offset)) ==
                    static_cast<ssize_t>(length),
                "write, " + where);
        break;
      case 2:
        for (std::uint64_t i = 0; i < length; ++i) {
          mapped[offset + i] = expected[offset + i] = static_cast<std::uint8_t>(random());
        }
        break;
      case 1:
        require(pread(fd, buffer.data(), length, static_cast<off_t>(offset)) ==
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
  require(content_of(file) == expected, "other bytes at the end");
  if (mapped != nullptr) flush(mapped, file.size());
}

// model FILE SEED ROUNDS: read(2), write(2), O_DIRECT, loads and stores agree with a model.
void model(const Arguments& arguments) {
  agree(arguments, [](const File& file) { return file.map(); });
}

// io-model FILE SEED ROUNDS: the same without a mapping.
void io_model(const Arguments& arguments) {
  agree(arguments, [](const File&) -> std::uint8_t* { return nullptr; });
}

// ends FILE: nothing can be written behind the end, and the size stays.
void ends(const Arguments& arguments) {
  const File file(arguments.at(0));
  std::array<char, 4096> bytes{};
  const auto end = static_cast<off_t>(file.size());
  require(pwrite(file.fd(), bytes.data(), 1, end) == -1 && errno == ENOSPC, "write at the end");
  require(pwrite(file.fd(), bytes.data(), bytes.size(), end - 100) == 100, "write across the end");
  require(pread(file.fd(), bytes.data(), bytes.size(), end - 100) == 100, "read across the end");
  require(pread(file.fd(), bytes.data(), 1, end) == 0, "read at the end");
  require(ftruncate(file.fd(), end / 2) == -1, "the file could be made smaller");
  require(ftruncate(file.fd(), end * 2) == -1, "the file could be made larger");
  struct stat attributes = {};
  require(fstat(file.fd(), &attributes) == 0 && attributes.st_size == end, "the size changed");
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

std::string answer_to(const std::string& command, const File& file, std::uint8_t* at) {
  std::istringstream words(command);
  std::string verb;
  std::uint64_t offset = 0;
  words >> verb >> offset;
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

// hold SOCKET FILE [touch]: maps FILE and answers `ask` until told to end; returns when it does.
void hold(const Arguments& arguments) {
  const File file(arguments.at(1));
  std::uint8_t* const at = file.map();
  if (arguments.size() > 2) {
    for (std::uint64_t i = 0; i < file.size(); i += kPage)
      require(touch(at + i, true) == 0, "touch");
  }
  const int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(arguments.at(0));
  unlink(address.sun_path);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(listener, 4) != 0) {
    fail_errno("socket");
  }
  if (const pid_t child = fork(); child != 0) _exit(child < 0 ? 1 : 0);
  setsid();
  for (const int fd : {0, 1, 2}) {
    dup2(open("/dev/null", O_RDWR), fd);
  }
  while (true) {
    const int peer = accept(listener, nullptr, nullptr);
    std::array<char, 256> buffer{};
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
  std::array<char, 256> buffer{};
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

int main(int argc, char** argv) {
  const auto found = argc < 2 ? kCommands.end() : kCommands.find(argv[1]);
  if (found == kCommands.end()) {
    std::fputs("usage: mapprobe COMMAND ARGUMENT...\n", stderr);
    return 2;
  }
  try {
    found->second(Arguments(argv + 2, argv + argc));
  } catch (const std::exception& error) {
    fail(error.what());
  }
  return 0;
}
