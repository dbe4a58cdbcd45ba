// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace famfs::media {

enum class Area { kSuperblock, kLogHeader, kLogEntry, kDevice };

enum class Severity {
  kNotice,  // reported, and reading goes on: an entry of a type we do not use, a header mid-update
  kDamage,  // what carries it is not used; mount and logplay stop here, fsck goes on
};

// One thing wrong on the medium, complete enough to be printed alone.
struct Finding {
  Severity severity = Severity::kDamage;
  Area area = Area::kSuperblock;
  uint64_t index = 0;   // of the log entry or the device; 0 in the other areas
  std::string field;    // as in the format: "magic", "fmap.se[2].offset"
  std::string found;    // the value found
  std::string allowed;  // what it may be

  friend bool operator==(const Finding&, const Finding&) = default;
};

// "log entry 5: fmap.se[0].offset is 0; allowed: a multiple of 2097152 …"
std::string to_string(const Finding& finding);

// The first of them that is damage; null if none is.
const Finding* first_damage(const std::vector<Finding>& findings);

// What decoding gives: a value if (and only if) there is no finding of severity kDamage.
template <typename T>
struct Decoded {
  std::optional<T> value;
  std::vector<Finding> findings;
};

}  // namespace famfs::media
