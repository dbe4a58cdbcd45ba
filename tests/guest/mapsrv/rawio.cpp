// SPDX-License-Identifier: Apache-2.0
#include "mapsrv/rawio.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mapsrv/check.h"

namespace mapsrv {
namespace {

void set_rawio(bool on) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  EXPECT(syscall(SYS_capget, &header, data) == 0);
  constexpr __u32 kBit = 1U << CAP_SYS_RAWIO;
  data[0].effective = on ? data[0].effective | kBit : data[0].effective & ~kBit;
  EXPECT(syscall(SYS_capset, &header, data) == 0);
}

}  // namespace

WithoutRawIo::WithoutRawIo() { set_rawio(false); }
WithoutRawIo::~WithoutRawIo() { set_rawio(true); }

}  // namespace mapsrv
