# SPDX-License-Identifier: Apache-2.0
"""Opening what is in a directory that a guest writes to, where anything may be under any name.

A guest can replace a file or directory at any moment. So each name is looked up once, relative to
the descriptor of the directory above, links are not followed, and what was found is known before it
is opened for real: to open a FIFO waits, and to open a device may already do something.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from famlab_vm.errors import LabStateError

_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind(mode: int) -> str:
    """Return what a file of this mode is, in words."""
    return _KINDS.get(stat.S_IFMT(mode), "a file of an unknown kind")


def open_file(name: str, directory: int, shown: Path) -> int:
    """Return a descriptor to read the file `name` of a directory.

    Raises LabStateError, with the path `shown`, for anything but a file; OSError.
    """
    return _open(name, directory, shown, stat.S_IFREG, 0)


def open_directory(name: str, directory: int, shown: Path) -> int:
    """Return a descriptor of the directory `name` of a directory. Raises as open_file() does."""
    return _open(name, directory, shown, stat.S_IFDIR, os.O_DIRECTORY)


def _open(name: str, directory: int, shown: Path, wanted: int, flags: int) -> int:
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        found = os.fstat(handle).st_mode
        if stat.S_IFMT(found) != wanted:
            raise LabStateError(f"{shown}: found {kind(found)}; allowed: {_KINDS[wanted]}")
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | flags | os.O_CLOEXEC)
    finally:
        os.close(handle)
