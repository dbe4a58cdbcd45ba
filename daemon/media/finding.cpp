// SPDX-License-Identifier: Apache-2.0
#include "media/finding.h"

#include <fmt/format.h>

#include <algorithm>

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
    case Area::kDevice:
      where = fmt::format("device {}", finding.index);
      break;
  }
  return fmt::format("{}: {} is {}; allowed: {}", where, finding.field, finding.found,
                     finding.allowed);
}

const Finding* first_damage(const std::vector<Finding>& findings) {
  const auto found = std::find_if(findings.begin(), findings.end(), [](const Finding& finding) {
    return finding.severity == Severity::kDamage;
  });
  return found == findings.end() ? nullptr : &*found;
}

}  // namespace famfs::media
