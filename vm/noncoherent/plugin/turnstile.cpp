// SPDX-License-Identifier: Apache-2.0
#include "plugin/turnstile.h"

#include <unistd.h>

#include <cerrno>

namespace noncoherent {

void Turnstile::pass(const Passage& passage) {
  if (free(passage)) return;
  const std::lock_guard lock(mutex_);
  if (free(passage)) return;
  ssize_t done;
  do {
    done = write(waits_.get(), &passage, sizeof(passage));  // whole, as it is less than PIPE_BUF
  } while (done < 0 && errno == EINTR);
  if (done < 0) fail("the FIFO of what waits");
  char go;
  do {
    done = read(goes_.get(), &go, 1);
  } while (done < 0 && errno == EINTR);
  if (done < 0) fail("the FIFO of what goes");
}

}  // namespace noncoherent
