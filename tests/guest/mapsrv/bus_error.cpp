// SPDX-License-Identifier: Apache-2.0
#include "mapsrv/bus_error.h"

#include <csetjmp>

namespace mapsrv {
namespace {

// What a SIGBUS does.
constexpr sig_atomic_t kKill = 0;
constexpr sig_atomic_t kJump = 1;
constexpr sig_atomic_t kRecord = 2;

sigjmp_buf jump;
volatile sig_atomic_t mode = kKill;
siginfo_t last;

void on_bus_error(int number, siginfo_t* information, void* /*context*/) {
  last = *information;
  if (mode == kJump) siglongjmp(jump, 1);
  if (mode == kRecord) return;
  std::signal(number, SIG_DFL);
  std::raise(number);
}

}  // namespace

void catch_bus_errors() {
  struct sigaction action{};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGBUS, &action, nullptr);
}

int during(void (*work)(void*), void* argument) {
  if (sigsetjmp(jump, 1) != 0) {
    mode = kKill;
    return last.si_code;
  }
  mode = kJump;
  work(argument);
  mode = kKill;
  return 0;
}

const siginfo_t& last_bus_error() { return last; }

int touch_read(const volatile char* address) {
  return during([](void* place) { (void)*static_cast<const volatile char*>(place); },
                const_cast<char*>(address));
}

int touch_write(volatile char* address) {
  return during(
      [](void* place) {
        auto* byte = static_cast<volatile char*>(place);
        *byte = static_cast<char>(*byte + 1);
      },
      const_cast<char*>(address));
}

int signalled_by(const std::function<void()>& work) {
  last.si_code = 0;
  mode = kRecord;
  work();
  mode = kKill;
  return last.si_code;
}

}  // namespace mapsrv
