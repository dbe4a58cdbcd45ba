# SPDX-License-Identifier: Apache-2.0
"""Being woken by the kernel (inotify) when files change, instead of looking again and again."""

from __future__ import annotations

import ctypes
import os
import select
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

# From <sys/inotify.h>.
_IN_MODIFY = 0x2
_IN_ATTRIB = 0x4
_IN_CLOSE_WRITE = 0x8
_IN_MOVED_TO = 0x80
_IN_CREATE = 0x100
# Of a file that a guest writes; whoever reads keeps it in memory until it ends.
_LONGEST_LINE = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)


# Descriptors that nobody uses now: the kernel takes ten milliseconds to close one.
_idle: list[int] = []


def _leave_to_parent() -> None:
    # What happens is told to one of those that read a descriptor.
    while _idle:
        os.close(_idle.pop())


os.register_at_fork(after_in_child=_leave_to_parent)


class Watch:
    """An inotify descriptor for select(): readable once a watched file or directory changed."""

    def __init__(self, *paths: Path) -> None:
        """Watch `paths`; for a directory that means the files in it. Raises OSError."""
        self._watched: list[int] = []
        try:
            self._descriptor = _idle.pop()
        except IndexError:
            self._descriptor = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._descriptor < 0:
            raise self._error("inotify")
        for path in paths:
            # A file that is removed while it is open has one link less, which is an attribute.
            mask = _IN_MODIFY | _IN_CLOSE_WRITE | _IN_ATTRIB | _IN_CREATE | _IN_MOVED_TO
            watched = _libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask)
            if watched < 0:
                error = self._error(str(path))
                self.close()
                raise error
            self._watched.append(watched)

    @staticmethod
    def _error(what: str) -> OSError:
        code = ctypes.get_errno()
        return OSError(code, os.strerror(code), what)

    def fileno(self) -> int:
        """The descriptor."""
        return int(self._descriptor)

    def drain(self) -> None:
        """Forget the changes so far; to be called before the files are looked at."""
        try:
            while os.read(self._descriptor, 65536):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Free the descriptor. It must not be used after that."""
        for watched in self._watched:
            _libc.inotify_rm_watch(self._descriptor, watched)  # fails where the file is gone
        self.drain()
        _idle.append(self._descriptor)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Follower:
    """Reads a file from an offset on, as it grows, until it is removed or stop() is called from any
    thread."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        """Start to follow `path`, which has to exist. Raises OSError."""
        self._watch = Watch(path)
        self._file = path.open("rb", buffering=0)
        self._file.seek(offset)
        self._stop_read, self._stop_write = os.pipe2(os.O_CLOEXEC)

    def __enter__(self) -> Follower:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watch.close()
        self._file.close()
        os.close(self._stop_read)
        os.close(self._stop_write)

    def stop(self) -> None:
        """Make chunks() end once it has given what the file holds now."""
        os.write(self._stop_write, b"x")

    def chunks(self) -> Iterator[bytes]:
        """Yield what the file holds from the offset on, then each addition."""
        stopped = False
        while True:
            # No more than there is now: it may grow faster than it is read.
            left = os.fstat(self._file.fileno()).st_size - self._file.tell()
            while left > 0 and (data := self._file.read(min(left, 65536))):
                left -= len(data)
                yield data
            if stopped:
                return
            ready, _, _ = select.select([self._watch, self._stop_read], [], [])
            self._watch.drain()
            stopped = self._stop_read in ready or os.fstat(self._file.fileno()).st_nlink == 0

    def lines(self) -> Iterator[str]:
        """Yield complete lines, decoded, without their ends; very long ones in pieces."""
        rest = b""
        for chunk in self.chunks():
            *complete, rest = (rest + chunk).split(b"\n")
            if len(rest) > _LONGEST_LINE:
                complete.append(rest)
                rest = b""
            for line in complete:
                yield line.decode(errors="replace").rstrip("\r")
