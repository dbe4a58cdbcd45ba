// SPDX-License-Identifier: Apache-2.0
#include "mapping/method.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>

#include "base/error.h"
#include "mapping/daemon_served.h"
#include "mapping/kernel_mapped.h"
#include "memory/dax_device.h"

namespace famfs::mapping {
namespace {

struct Candidate {
  std::string_view name;
  // What kernel or memory lack for it, empty when it can be used.
  std::string (*missing)(const kmap::Offer& offer, const memory::SharedMemory& memory);
  std::unique_ptr<Method> (*make)(volume::Volume& volume);
};

template <kmap::Protocol Protocol>
Candidate kernel_mapped(std::string_view name) {
  return {name,
          [](const kmap::Offer& offer, const memory::SharedMemory& memory) {
            std::string why = kmap::missing(Protocol, offer);
            if (why.empty() && !kmap::shares_devices(Protocol)) {
              why =
                  "that kernel lets one connection alone hold a device, and the daemon's own "
                  "access to superblock and log is one already";
            }
            // The device that files lie on is the one that the daemon has a window of.
            if (why.empty() && memory.reaches_files()) {
              why = fmt::format("{} is not a dax device bound to {}", memory.name(),
                                memory::kFileSystemDriver);
            }
            return why;
          },
          [](volume::Volume& volume) -> std::unique_ptr<Method> {
            return std::make_unique<KernelMapped>(volume, Protocol);
          }};
}

std::string missing_for_daemon(const kmap::Offer& /*offer*/, const memory::SharedMemory& memory) {
  if (memory.reaches_files()) return {};
  return fmt::format("{} is bound to {}, which lets the daemon map no file data; bind it to {}",
                     memory.name(), memory::kFileSystemDriver, memory::kDeviceDriver);
}

// In order of preference. The last one works with every kernel.
const auto& candidates() {
  static const std::array all{
      kernel_mapped<kmap::Protocol::kExtentMap>(kmap::name_of(kmap::Protocol::kExtentMap)),
      kernel_mapped<kmap::Protocol::kFmap>(kmap::name_of(kmap::Protocol::kFmap)),
      kernel_mapped<kmap::Protocol::kFmapV10>(kmap::name_of(kmap::Protocol::kFmapV10)),
      Candidate{DaemonServed::kName, missing_for_daemon,
                [](volume::Volume& volume) -> std::unique_ptr<Method> {
                  return std::make_unique<DaemonServed>(volume);
                }},
  };
  return all;
}

}  // namespace

std::string method_names() {
  std::string all;
  for (const Candidate& candidate : candidates()) {
    if (!all.empty()) all += ", ";
    all += candidate.name;
  }
  return all;
}

void check_method_name(std::string_view wanted) {
  if (wanted.empty()) return;
  for (const Candidate& candidate : candidates()) {
    if (candidate.name == wanted) return;
  }
  throw base::Error(EINVAL, "mapping method \"{}\" does not exist; allowed for -o method=: {}",
                    wanted, method_names());
}

Choice negotiate(const kmap::Offer& offer, std::string_view wanted, volume::Volume& volume) {
  check_method_name(wanted);
  std::string reasons;
  for (const Candidate& candidate : candidates()) {
    if (!wanted.empty() && candidate.name != wanted) continue;
    const std::string missing = candidate.missing(offer, volume.memory());
    if (missing.empty()) return {candidate.make(volume), std::move(reasons)};
    reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", candidate.name, missing);
  }
  throw base::Error(EOPNOTSUPP, "{} with this kernel (FUSE {}.{}): {}",
                    wanted.empty() ? "no mapping method can be used"
                                   : fmt::format("mapping method {} cannot be used", wanted),
                    offer.major, offer.minor, reasons);
}

}  // namespace famfs::mapping
