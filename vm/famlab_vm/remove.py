# SPDX-License-Identifier: Apache-2.0
"""Removing directories that guests can write to, whatever they have made of what is in them.

All is named relative to a descriptor, so a link that takes a directory's place leads nowhere.
"""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path

_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: Path) -> None:
    """Remove a directory and all in it. Raises OSError, NotADirectoryError for a link.

    Of any depth, with two descriptors: what lies deeper is moved up, as shutil.rmtree ends at a
    thousand levels. Directories without permission to write are given it.
    """
    top = _open(os.fspath(path), None)
    try:
        while names := os.listdir(top):
            for name in names:
                # Another command may be removing its own files in it.
                with suppress(FileNotFoundError):
                    if not _unlink(name, top):
                        _move_up(name, top)
                        os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    path.rmdir()


def _move_up(name: str, top: int) -> None:
    """Empty a directory: remove its files, and move its directories to `top`."""
    directory = _open(name, top)
    try:
        for below in os.listdir(directory):
            if not _unlink(below, directory):
                # To give it another parent takes permission to write to it.
                os.close(_open(below, directory))
                os.rename(below, uuid.uuid4().hex, src_dir_fd=directory, dst_dir_fd=top)
    finally:
        os.close(directory)


def _unlink(name: str, directory: int) -> bool:
    """Remove what is not a directory; returns whether it was none."""
    try:
        os.unlink(name, dir_fd=directory)
    except IsADirectoryError:
        return False
    return True


def _open(name: str, parent: int | None) -> int:
    """Open a directory to empty it, with permission to do so."""
    handle = os.open(name, os.O_PATH | _DIRECTORY, dir_fd=parent)
    try:
        # A descriptor of this kind has no fchmod(2).
        os.chmod(f"/proc/self/fd/{handle}", 0o700)
        return os.open(".", os.O_RDONLY | _DIRECTORY, dir_fd=handle)
    finally:
        os.close(handle)
