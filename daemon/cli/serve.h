// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/error.h"
#include "cli/daemon_options.h"
#include "cli/handover.h"

namespace famfs::cli {

// Mounts and serves until unmounted or told to end by a signal. `ready` is called once, when the
// mount can be used, with lines for people: role, mapping method and what it means; when it returns
// false nobody wants the mount any more. Throws base::Error when it cannot mount; everything is
// undone then.
//
// With `before` it goes on with the mount of another program. `replace` is called when this program
// is to make room in its turn (SIGUSR2): it does not return but by base::Error, and serving goes
// on.
void serve(const DaemonOptions& options, std::optional<Handover> before,
           const std::function<bool(const std::string&)>& ready,
           const std::function<void(Handover&)>& replace);

}  // namespace famfs::cli
