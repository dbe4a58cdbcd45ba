# SPDX-License-Identifier: Apache-2.0
"""Following a growing file with inotify: woken by the kernel when it grows, no polling."""

from __future__ import annotations

import ctypes
import os
import select
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

_IN_MODIFY = 0x2
_libc = ctypes.CDLL(None, use_errno=True)


class Follower:
    """Reads a file from an offset on, as it grows, until `stop` is called from any thread."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        """Start to follow `path`, which has to exist. Raises OSError."""
        self._stop_read, self._stop_write = os.pipe2(os.O_CLOEXEC)
        self._notify = _libc.inotify_init1(os.O_CLOEXEC)
        self._file = path.open("rb", buffering=0)
        self._file.seek(offset)
        if self._notify < 0 or _libc.inotify_add_watch(
            self._notify, os.fsencode(path), _IN_MODIFY
        ) < 0:
            code = ctypes.get_errno()
            self.close()
            raise OSError(code, os.strerror(code), str(path))

    def __enter__(self) -> Follower:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def stop(self) -> None:
        """Make chunks() end once it has given what the file holds now."""
        os.write(self._stop_write, b"x")

    def chunks(self) -> Iterator[bytes]:
        """Yield what the file holds from the offset on, then each addition."""
        stopped = False
        while True:
            while data := self._file.read(65536):
                yield data
            if stopped:
                return
            ready, _, _ = select.select([self._notify, self._stop_read], [], [])
            if self._notify in ready:
                os.read(self._notify, 65536)
            stopped = self._stop_read in ready

    def lines(self) -> Iterator[str]:
        """Yield complete lines, decoded, without their ends."""
        rest = b""
        for chunk in self.chunks():
            *complete, rest = (rest + chunk).split(b"\n")
            for line in complete:
                yield line.decode(errors="replace").rstrip("\r")

    def close(self) -> None:
        """Free the descriptors."""
        if not self._file.closed:
            self._file.close()
            for descriptor in (self._notify, self._stop_read, self._stop_write):
                if descriptor >= 0:
                    os.close(descriptor)
