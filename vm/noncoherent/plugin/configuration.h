// SPDX-License-Identifier: Apache-2.0
// What the lab tells the plugin about a host.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/policy.h"
#include "plugin/windows.h"

namespace noncoherent {

struct DeviceFiles {
  std::string cache;    // this host's own: what QEMU maps; empty
  std::string device;   // the shared memory of all hosts
  std::string lines;    // LineLocks of the device
  std::string history;  // LineHistory of each line; none without `findings`
};

// A text of lines KEY=VALUE, each key once but those of devices, which come for each in turn:
//   policy=strict,seed=7   windows=0x110000000:0x100000000:0:0   counters=PATH   reason=PATH
//   record=PATH or turnstile=PATH
//   host=1   findings=PATH   sites=PATH     if blame is looked for; then each device has `history`
//   cache=PATH   device=PATH   lines=PATH   history=PATH
struct Configuration {
  Policy policy;
  Windows windows;
  std::string counters;   // a file of the size of Counters or more
  std::string reason;     // where it is written why the guest was ended
  std::string record;     // an empty file for Recorder; none without
  std::string turnstile;  // the file of a Turnstile; none without
  unsigned host = 0;      // its number
  std::string findings;   // for Findings; none: nobody is blamed
  std::string sites;      // for SiteTable
  std::vector<DeviceFiles> devices;

  // Throws std::invalid_argument with what is wrong.
  static Configuration parse(std::string_view text);
  static Configuration read(const std::string& path);
};

}  // namespace noncoherent
