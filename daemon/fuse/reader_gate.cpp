// SPDX-License-Identifier: Apache-2.0
#include "fuse/reader_gate.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "fuse/no_cancellation.h"

namespace famfs::fuse {
namespace {

constexpr int kWake = SIGUSR1;
// A signal that comes just before read(2) begins to wait is lost on it, and sent again.
constexpr std::chrono::milliseconds kAgain{2};

void install_wake_handler() {
  struct sigaction action = {};
  action.sa_handler = [](int) {};  // no SA_RESTART: read(2) shall return
  sigaction(kWake, &action, nullptr);
}

}  // namespace

struct ReaderGate::State {
  std::atomic<bool> closed = false;
  // Readable while the gate is open.
  base::FileDescriptor opened{eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::mutex mutex;
  std::condition_variable one_held;
  std::vector<Reader*> readers;  // guarded by mutex
};

struct ReaderGate::Reader {
  explicit Reader(std::shared_ptr<State> gate) : state(std::move(gate)) {
    const std::scoped_lock lock(state->mutex);
    state->readers.push_back(this);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() {
    const std::scoped_lock lock(state->mutex);
    std::erase(state->readers, this);
    state->one_held.notify_one();
  }

  std::shared_ptr<State> state;
  pthread_t thread = pthread_self();
  std::atomic<bool> reading = false;
  bool held = false;  // guarded by the mutex
};

ReaderGate::ReaderGate() : state_(std::make_shared<State>()) {
  if (!state_->opened) throw base::system_error("eventfd");
}

ReaderGate::Reader& ReaderGate::this_thread() {
  thread_local std::unique_ptr<Reader> reader;
  if (!reader || reader->state != state_) {
    reader.reset();
    reader = std::make_unique<Reader>(state_);
  }
  return *reader;
}

ssize_t ReaderGate::read(int fd, void* buffer, std::size_t size) {
  Reader& reader = this_thread();
  // Sequentially consistent: either close() sees `reading`, or this thread sees `closed`.
  reader.reading = true;
  if (!state_->closed) {
    const ssize_t length = ::read(fd, buffer, size);
    const int error = errno;
    reader.reading = false;
    errno = error;
    if (length >= 0 || error != EINTR || !state_->closed) return length;
  }
  reader.reading = false;
  {
    const std::scoped_lock lock(state_->mutex);
    reader.held = true;
    state_->one_held.notify_one();
  }
  // It ends by itself once the gate is open: libfuse looks whether the session has ended.
  const NoCancellation guard;
  pollfd wanted{state_->opened.get(), POLLIN, 0};
  while (poll(&wanted, 1, -1) < 0 && errno == EINTR) {
  }
  {
    const std::scoped_lock lock(state_->mutex);
    reader.held = false;
  }
  errno = EINTR;
  return -1;
}

bool ReaderGate::close(std::chrono::milliseconds patience) {
  install_wake_handler();
  const auto end = std::chrono::steady_clock::now() + patience;
  eventfd_t ignored = 0;
  eventfd_read(state_->opened.get(), &ignored);
  state_->closed = true;
  std::unique_lock lock(state_->mutex);
  const auto on_the_way = [](const Reader* reader) { return !reader->held; };
  while (std::any_of(state_->readers.begin(), state_->readers.end(), on_the_way)) {
    if (std::chrono::steady_clock::now() >= end) {
      lock.unlock();
      open();
      return false;
    }
    // Only those that wait in read(2): the others have calls that a signal must not end.
    for (const Reader* reader : state_->readers) {
      if (reader->reading) pthread_kill(reader->thread, kWake);
    }
    state_->one_held.wait_for(lock, kAgain);
  }
  return true;
}

void ReaderGate::open() noexcept {
  state_->closed = false;
  eventfd_write(state_->opened.get(), 1);
}

}  // namespace famfs::fuse
