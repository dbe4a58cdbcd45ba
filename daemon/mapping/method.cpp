// SPDX-License-Identifier: Apache-2.0
#include "mapping/method.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>

#include "base/error.h"
#include "mapping/daemon_served.h"

namespace famfs::mapping {
namespace {

struct Candidate {
  std::string_view name;
  // What the kernel lacks for it, empty when it can be used.
  std::string (*missing)(const KernelOffer& offer);
  std::unique_ptr<Method> (*make)(volume::Volume& volume);
};

// In order of preference. The last one works with every kernel.
constexpr std::array kCandidates = {
    Candidate{DaemonServed::kName, [](const KernelOffer&) { return std::string(); },
              [](volume::Volume& volume) -> std::unique_ptr<Method> {
                return std::make_unique<DaemonServed>(volume);
              }},
};

std::string names() {
  std::string all;
  for (const Candidate& candidate : kCandidates) {
    if (!all.empty()) all += ", ";
    all += candidate.name;
  }
  return all;
}

}  // namespace

void check_method_name(std::string_view wanted) {
  if (wanted.empty()) return;
  for (const Candidate& candidate : kCandidates) {
    if (candidate.name == wanted) return;
  }
  throw base::Error(EINVAL, "mapping method \"{}\" does not exist; allowed for -o method=: {}",
                    wanted, names());
}

std::unique_ptr<Method> negotiate(const KernelOffer& offer, std::string_view wanted,
                                  volume::Volume& volume) {
  check_method_name(wanted);
  std::string reasons;
  for (const Candidate& candidate : kCandidates) {
    if (!wanted.empty() && candidate.name != wanted) continue;
    const std::string missing = candidate.missing(offer);
    if (missing.empty()) return candidate.make(volume);
    reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", candidate.name, missing);
  }
  throw base::Error(EOPNOTSUPP, "no mapping method can be used with this kernel (FUSE {}.{}): {}",
                    offer.major, offer.minor, reasons);
}

}  // namespace famfs::mapping
