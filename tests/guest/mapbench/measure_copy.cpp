// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <vector>

#include "mapbench/measure.h"
#include "mapbench/meter.h"
#include "mapbench/place.h"

namespace mapbench {
namespace {

template <typename Call>
Result call_all(const Options& options, Call call) {
  const OpenFile file(options.path);
  std::vector<char> buffer(options.step, 'x');
  const std::uint64_t calls = options.length / options.step;
  auto copy = [&](std::uint64_t number) {
    const ssize_t done = call(file.get(), buffer.data(), options.step,
                              static_cast<off_t>(options.offset + number * options.step));
    if (done != static_cast<ssize_t>(options.step))
      throw std::system_error(done < 0 ? errno : EIO, std::generic_category(), options.path);
  };
  for (std::uint64_t number = 0; number < calls; ++number) copy(number);
  Meter meter(calls);
  for (std::uint64_t number = 0; number < calls; ++number) {
    copy(number);
    meter.lap();
  }
  return meter.stop(calls, calls * options.step);
}

}  // namespace

Result read_file(const Options& options) { return call_all(options, pread); }
Result write_file(const Options& options) { return call_all(options, pwrite); }

}  // namespace mapbench
