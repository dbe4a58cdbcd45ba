// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <memory>

namespace famfs::fuse {

// Holds the threads that read messages between two of them, so that no message is in flight.
//
// libfuse ends its threads by cancelling them where they wait in read(2), and a message that
// read(2) has taken by then is lost with its thread: nobody ever answers it. That is right at the
// end of a mount, and wrong for a mount that another program goes on to serve.
//
// Thread safety: read() from any number of threads; close() and open() from one other.
class ReaderGate {
 public:
  ReaderGate();
  ReaderGate(const ReaderGate&) = delete;
  ReaderGate& operator=(const ReaderGate&) = delete;
  ~ReaderGate() = default;

  // As read(2). Where the gate is closed it waits, and answers EINTR once it is open again. A
  // thread may be cancelled while it waits in read(2), but not while it is held.
  ssize_t read(int fd, void* buffer, std::size_t size);

  // Returns true when every thread that has ever called read() and lives is held there. False, and
  // open as before, if a thread takes longer than `patience` to come back for its next message.
  // Wakes those that wait in read(2) by SIGUSR1, for which it installs an empty handler.
  bool close(std::chrono::milliseconds patience);

  void open() noexcept;

 private:
  struct State;
  struct Reader;
  Reader& this_thread();

  std::shared_ptr<State> state_;  // threads may outlive this object
};

}  // namespace famfs::fuse
