// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <system_error>

#include "mapbench/measure.h"
#include "mapbench/place.h"

namespace mapbench {
namespace {

std::uint64_t lines_of(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::system_error(errno, std::generic_category(), path);
  return static_cast<std::uint64_t>(
      std::count(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>(), '\n'));
}

}  // namespace

// Names and attributes are asked for before, so that what is counted belongs to the opens.
Result count_messages(const Options& options) {
  struct stat status{};
  if (stat(options.path.c_str(), &status) != 0)
    throw std::system_error(errno, std::generic_category(), options.path);
  const std::uint64_t before = lines_of(options.log);
  const OpenFile first(options.path);
  const std::uint64_t opened = lines_of(options.log);
  const OpenFile second(options.path);
  const std::uint64_t opened_again = lines_of(options.log);
  {
    const Mapping mapping(second, options.offset, options.length, true);
    for (std::uint64_t at = 0; at < options.length; at += options.step) mapping.bytes()[at] = 1;
  }
  const std::uint64_t touched = lines_of(options.log);
  return {{"first_open", opened - before},
          {"later_open", opened_again - opened},
          {"faults", touched - opened_again}};
}

}  // namespace mapbench
