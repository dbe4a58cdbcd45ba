// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>
#include <functional>

namespace mapsrv {

// From now on a SIGBUS inside the functions below is caught, any other one kills as always.
void catch_bus_errors();

// Calls work(argument). Returns the si_code of the SIGBUS that ended it, 0 if none did. `work` is
// left by a jump: it must own nothing that a destructor frees.
int during(void (*work)(void*), void* argument);

// The last SIGBUS that was caught.
const siginfo_t& last_bus_error();

// Reads or changes one byte; the code of the SIGBUS, or 0.
int touch_read(const volatile char* address);
int touch_write(volatile char* address);

// Does work that does not touch memory itself but may have a SIGBUS sent to this process. Returns
// its si_code, or 0.
int signalled_by(const std::function<void()>& work);

}  // namespace mapsrv
