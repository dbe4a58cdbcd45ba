// SPDX-License-Identifier: Apache-2.0
#include "cli/parallel.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"
#include "cli/command.h"

namespace famfs::cli {

std::size_t for_each_index(std::size_t count, unsigned threads,
                           const std::function<void(std::size_t)>& work,
                           const std::function<void(std::size_t, std::exception_ptr)>& failed) {
  std::atomic<std::size_t> next = 0;
  std::atomic<std::size_t> failures = 0;
  std::mutex reporting;
  const auto drain = [&] {
    for (std::size_t index = next++; index < count; index = next++) {
      try {
        work(index);
      } catch (...) {
        ++failures;
        const std::lock_guard lock(reporting);
        failed(index, std::current_exception());
      }
    }
  };
  const std::size_t helpers = std::min<std::size_t>(threads, count);
  {
    std::vector<std::jthread> pool;
    for (std::size_t i = 1; i < helpers; ++i) pool.emplace_back(drain);
    drain();
  }
  return failures;
}

int for_each_reported(const char* program, std::size_t count, unsigned threads,
                      const std::function<void(std::size_t)>& work) {
  std::size_t first = count;
  int code = kExitOk;
  for_each_index(count, threads, work, [&](std::size_t index, std::exception_ptr thrown) {
    int mine = exit_code(EIO);
    try {
      std::rethrow_exception(thrown);
    } catch (const base::Error& error) {
      mine = exit_code(error.code());
      fmt::print(stderr, "{}: {}\n", program, error.what());
    } catch (const std::exception& error) {
      fmt::print(stderr, "{}: {}\n", program, error.what());
    }
    if (index < first) {
      first = index;
      code = mine;
    }
  });
  return code;
}

}  // namespace famfs::cli
