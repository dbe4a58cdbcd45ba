// SPDX-License-Identifier: Apache-2.0
#include "probe.h"

#include <emmintrin.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace probe {
namespace {

constexpr std::uint64_t kLine = 64;

sigjmp_buf jump;                 // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
volatile sig_atomic_t bus_code;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void on_sigbus(int, siginfo_t* info, void*) {
  bus_code = info->si_code;
  siglongjmp(jump, 1);
}

}  // namespace

void fail(const std::string& what) {
  std::fprintf(stderr, "mapprobe: %s\n", what.c_str());
  std::exit(1);
}

void fail_errno(const std::string& what) { fail(what + ": " + std::strerror(errno)); }

void require(bool holds, const std::string& what) {
  if (!holds) fail(what);
}

std::uint64_t number(const std::string& text) { return std::stoull(text); }

std::uint8_t pattern(std::uint64_t offset, std::uint64_t seed) {
  const std::uint64_t mixed = (offset / 8 + 1) * 0x9e3779b97f4a7c15ULL * (2 * seed + 1);
  return static_cast<std::uint8_t>(mixed >> (8 * (offset % 8)));
}

File::File(const std::string& path, int flags) : path_(path) {
  fd_ = open(path.c_str(), flags | O_CLOEXEC);
  if (fd_ < 0) fail_errno("open " + path);
  struct stat attributes = {};
  if (fstat(fd_, &attributes) != 0) fail_errno("stat " + path);
  size_ = static_cast<std::uint64_t>(attributes.st_size);
}

File::~File() { close(fd_); }

std::uint8_t* File::map(int protection, int flags) const {
  void* const room = mmap(nullptr, size_ + kPmd, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) fail_errno("room");
  const auto aligned = (reinterpret_cast<std::uintptr_t>(room) + kPmd - 1) & ~(kPmd - 1);
  void* const at =
      mmap(reinterpret_cast<void*>(aligned), size_, protection, flags | MAP_FIXED, fd_, 0);
  if (at == MAP_FAILED) fail_errno("mmap " + path_);
  return static_cast<std::uint8_t*>(at);
}

void flush(const std::uint8_t* start, std::uint64_t length) {
  const auto begin = reinterpret_cast<std::uintptr_t>(start) & ~(kLine - 1);
  const auto end = reinterpret_cast<std::uintptr_t>(start) + length;
  for (std::uintptr_t at = begin; at < end; at += kLine) _mm_clflush(reinterpret_cast<void*>(at));
  _mm_mfence();
}

int touch(volatile std::uint8_t* at, bool write) {
  struct sigaction action = {};
  struct sigaction before = {};
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGBUS, &action, &before);
  bus_code = 0;
  if (sigsetjmp(jump, 1) == 0) {
    const std::uint8_t value = *at;
    if (write) *at = value;
  }
  sigaction(SIGBUS, &before, nullptr);
  return bus_code;
}

}  // namespace probe
