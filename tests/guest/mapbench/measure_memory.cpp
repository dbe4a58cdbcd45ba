// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <cstring>

#include "mapbench/measure.h"
#include "mapbench/meter.h"
#include "mapbench/place.h"

namespace mapbench {
namespace {

constexpr std::uint64_t kWord = sizeof(std::uint64_t);

// The next of all numbers modulo a power of two, each once: a linear congruential generator whose
// period is full.
std::uint64_t next(std::uint64_t number) {
  return number * 6364136223846793005ULL + 1442695040888963407ULL;
}

// Accesses in a lap: about a tenth of a millisecond under emulation.
constexpr std::uint64_t kLap = 8192;

// Maps and touches everything first, so that no fault and no cold translation is timed.
template <typename Access>
Result sequential(const Options& options, Access access) {
  const OpenFile file(options.path);
  const Mapping mapping(file, options.offset, options.length, true);
  volatile std::uint64_t* words = mapping.words();
  const std::uint64_t laps = options.length / kWord / kLap;
  for (std::uint64_t index = 0; index < laps * kLap; ++index) access(words, index);
  Meter meter(laps);
  for (std::uint64_t lap = 0; lap < laps; ++lap) {
    for (std::uint64_t index = lap * kLap; index < (lap + 1) * kLap; ++index) access(words, index);
    meter.lap();
  }
  return meter.stop(laps * kLap, laps * kLap * kWord);
}

template <typename Access>
Result random(const Options& options, Access access) {
  const OpenFile file(options.path);
  const Mapping mapping(file, options.offset, options.length, true);
  volatile std::uint64_t* words = mapping.words();
  for (std::uint64_t at = 0; at < options.length; at += kSmallPage) access(words, at / kWord);
  // High bits: the low ones of such a generator are not random.
  const int shift = 64 - std::bit_width(std::bit_floor(options.length / kWord) - 1);
  const std::uint64_t laps = options.count / kLap;
  std::uint64_t number = 1;
  Meter meter(laps);
  for (std::uint64_t lap = 0; lap < laps; ++lap) {
    for (std::uint64_t done = 0; done < kLap; ++done) {
      number = next(number);
      access(words, number >> shift);
    }
    meter.lap();
  }
  return meter.stop(laps * kLap, laps * kLap * kWord);
}

void load(const volatile std::uint64_t* words, std::uint64_t index) { (void)words[index]; }
void store(volatile std::uint64_t* words, std::uint64_t index) { words[index] = index; }

}  // namespace

Result fill(const Options& options) {
  const OpenFile file(options.path);
  const Mapping mapping(file, options.offset, options.length, true);
  Meter meter(1);
  std::memset(const_cast<char*>(mapping.bytes()), 1, options.length);
  meter.lap();
  return meter.stop(1, options.length);
}

Result load_sequential(const Options& options) { return sequential(options, load); }
Result store_sequential(const Options& options) { return sequential(options, store); }
Result load_random(const Options& options) { return random(options, load); }
Result store_random(const Options& options) { return random(options, store); }

}  // namespace mapbench
