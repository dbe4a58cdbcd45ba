// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace famfs::cli {

// One file of `creat --multi` or `verify --multi`.
struct FileSpec {
  std::string path;
  std::uint64_t size = 0;  // bytes; not used by verify
  std::uint32_t seed = 0;
  bool fill = false;  // creat: write the pattern of the seed
};

// "NAME,SIZE[,SEED]"; fill is set for a seed other than 0. Names may contain commas: the fields are
// taken from the end. Throws UsageError that shows the text and the form.
FileSpec parse_create_spec(std::string_view text);

// "NAME,SEED". Throws like parse_create_spec().
FileSpec parse_verify_spec(std::string_view text);

}  // namespace famfs::cli
