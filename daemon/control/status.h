// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "control/server.h"
#include "fuse/filesystem.h"
#include "volume/volume.h"

namespace famfs::control {

// What does not change while mounted.
struct MountFacts {
  std::string device;
  std::string mount_point;
  std::string run_directory;
};

// The reports of one mount. `volume` and `filesystem` must outlive them.
Reports make_reports(volume::Volume& volume, const fuse::Filesystem& filesystem, MountFacts facts);

}  // namespace famfs::control
