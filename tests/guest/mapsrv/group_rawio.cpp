// SPDX-License-Identifier: Apache-2.0
//
// Whoever mounts without CAP_SYS_RAWIO is not offered file maps, and does not get them either.
#include <fcntl.h>
#include <unistd.h>

#include <memory>

#include "mapsrv/check.h"
#include "mapsrv/groups.h"
#include "mapsrv/rawio.h"

namespace mapsrv {

void check_no_rawio(Session& session) {
  constexpr bool kTakesUnoffered = true;
  std::unique_ptr<Server> server;
  {
    const WithoutRawIo dropped;
    server = std::make_unique<Server>(session.method, session.server.devices(), kTakesUnoffered);
  }
  EXPECT((server->offered() & abi::kInitDaxFmap) == 0);
  if (session.method != Method::kFmap) return;
  File& file = server->add("ordinary", 2 * kMebi);
  file.fmap = Fmap(file.size, 0, 1).simple(0, 512 * kMebi, file.size).bytes();
  const int fd = Session::open(file, O_RDWR);
  EXPECT(fd >= 0 && server->messages(abi::kGetFmap) == 0);
  close(fd);
}

}  // namespace mapsrv
