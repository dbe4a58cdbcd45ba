// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace mapsrv {

// While this lives, the calling thread has no CAP_SYS_RAWIO in effect.
class WithoutRawIo {
 public:
  WithoutRawIo();
  ~WithoutRawIo();
  WithoutRawIo(const WithoutRawIo&) = delete;
  WithoutRawIo& operator=(const WithoutRawIo&) = delete;
};

}  // namespace mapsrv
