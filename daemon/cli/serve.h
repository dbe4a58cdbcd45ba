// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "base/error.h"
#include "cli/daemon_options.h"

namespace famfs::cli {

// Mounts and serves until unmounted or told to end by a signal. `ready` is called once, when the
// mount can be used, with lines for people: role, mapping method and what it means; when it returns
// false nobody wants the mount any more. Throws base::Error when it cannot mount; everything is
// undone then.
void serve(const DaemonOptions& options, const std::function<bool(const std::string&)>& ready);

}  // namespace famfs::cli
