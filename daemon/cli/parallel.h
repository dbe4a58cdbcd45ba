// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <exception>
#include <functional>

namespace famfs::cli {

// Calls `work(0)` .. `work(count - 1)`, in order when `threads` is 0 or 1, else from that many
// threads. A call that throws does not stop the others. `failed` is told about each exception,
// one at a time. Returns the number of calls that threw.
std::size_t for_each_index(std::size_t count, unsigned threads,
                           const std::function<void(std::size_t)>& work,
                           const std::function<void(std::size_t, std::exception_ptr)>& failed);

// Like above; prints each message as "PROGRAM: message" and returns the exit code of the first
// failure in order of index, or 0.
int for_each_reported(const char* program, std::size_t count, unsigned threads,
                      const std::function<void(std::size_t)>& work);

}  // namespace famfs::cli
