# SPDX-License-Identifier: Apache-2.0
"""Progress lines with elapsed time, on stderr."""

from __future__ import annotations

import sys
import threading
import time

from famlab_vm.terminal import show


class Progress:
    """Prints `[famlab  12.3s] TEXT`. Safe to use from several threads."""

    def __init__(self, enabled: bool = True) -> None:
        self._start = time.monotonic()
        self._lock = threading.Lock()
        self.enabled = enabled

    def say(self, text: str) -> None:
        """Print `text` with the seconds since this object was made."""
        if not self.enabled:
            return
        with self._lock:
            elapsed = time.monotonic() - self._start
            show(f"[famlab {elapsed:5.1f}s] {text}", sys.stderr)
