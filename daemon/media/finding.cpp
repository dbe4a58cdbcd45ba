// SPDX-License-Identifier: Apache-2.0
#include "media/finding.h"

#include <fmt/format.h>

namespace famfs::media {

std::string to_string(const Finding& finding) {
  std::string where;
  switch (finding.area) {
    case Area::kSuperblock:
      where = "superblock";
      break;
    case Area::kLogHeader:
      where = "log header";
      break;
    case Area::kLogEntry:
      where = fmt::format("log entry {}", finding.index);
      break;
  }
  return fmt::format("{}: {} is {}; allowed: {}", where, finding.field, finding.found,
                     finding.allowed);
}

}  // namespace famfs::media
