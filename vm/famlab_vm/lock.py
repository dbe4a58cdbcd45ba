# SPDX-License-Identifier: Apache-2.0
"""One lock per lab: who may talk to the lab's guests through libvirt now.

libvirt's embedded driver serves one process per state directory, so commands take turns.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from famlab_vm.errors import LabStateError


class LabLock:
    """An flock(2) on a file that names its holder. The kernel frees it when the holder dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor >= 0

    def acquire(self, waiting: Callable[[str], None] | None) -> None:
        """Take the lock. If another process has it: call `waiting` with a description of that
        process and wait until it is free, or, if `waiting` is None, raise LabStateError.

        Raises FileNotFoundError if the directory of the lock does not exist (any more).
        """
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._flock(descriptor, waiting)
                if self._is_current(descriptor):
                    self._descriptor = descriptor
                    self._write_holder()
                    return
            except BaseException:
                os.close(descriptor)
                raise
            # `down` removed the file while we waited for it.
            os.close(descriptor)

    def _flock(self, descriptor: int, waiting: Callable[[str], None] | None) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = os.pread(descriptor, 4096, 0).decode(errors="replace").strip() or "a process"
        if waiting is None:
            raise LabStateError(f"the lab is in use by {holder}")
        waiting(holder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _is_current(self, descriptor: int) -> bool:
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return False
        return os.path.samestat(os.fstat(descriptor), there)

    def _write_holder(self) -> None:
        name = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{name} (pid {os.getpid()})\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back; without effect if it is not held."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> LabLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
