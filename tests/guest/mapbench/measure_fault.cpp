// SPDX-License-Identifier: Apache-2.0
#include "mapbench/measure.h"
#include "mapbench/meter.h"
#include "mapbench/place.h"

namespace mapbench {
namespace {

template <typename Touch>
Result touch_all(const Options& options, Touch touch) {
  if (options.step != kSmallPage && options.step != kLargePage) usage();
  const OpenFile file(options.path);
  const Mapping mapping(file, options.offset, options.length, options.step == kLargePage);
  volatile char* bytes = mapping.bytes();
  const std::uint64_t faults = options.length / options.step;
  Meter meter(faults);
  for (std::uint64_t number = 0; number < faults; ++number) {
    touch(bytes + number * options.step);
    meter.lap();
  }
  return meter.stop(faults, options.length);
}

}  // namespace

Result fault_read(const Options& options) {
  return touch_all(options, [](const volatile char* byte) { (void)*byte; });
}

Result fault_write(const Options& options) {
  return touch_all(options, [](volatile char* byte) { *byte = 1; });
}

}  // namespace mapbench
