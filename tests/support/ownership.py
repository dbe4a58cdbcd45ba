# SPDX-License-Identifier: Apache-2.0
"""Directories whose contents a run removes: only those that it has made itself, and marked.

A variable may name any directory, somebody's home by mistake. As with CACHEDIR.TAG, a file in it
says whose it is; a directory without that file is left alone unless it is empty.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

MARK = ".made-by-tests-run"
_TEXT = b"What is in this directory belongs to tests/run, and is removed by it.\n"


class NotOurs(Exception):
    """A directory that must not be emptied; the message says why and what to do."""


def make_or_check_directory(path: Path) -> None:
    """Makes a directory and marks it, or checks that an existing one may be emptied.

    Nothing is ever removed here. Raises NotOurs if it is a link or no directory, belongs to another
    user, or holds something but not the mark; OSError if it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir()
    except FileExistsError:
        pass
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError:  # what O_NOFOLLOW says of a link, too
        raise NotOurs(f"{path}: a link, or no directory; name a directory") from None
    try:
        _check(path, directory)
    finally:
        os.close(directory)


def _check(path: Path, directory: int) -> None:
    owner = os.fstat(directory).st_uid
    if owner != os.geteuid():
        raise NotOurs(f"{path}: belongs to {_user(owner)}; name a directory of your own")
    names = sorted(os.listdir(directory))
    if not names:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        mark = os.open(MARK, flags, 0o644, dir_fd=directory)
        try:
            os.write(mark, _TEXT)
        finally:
            os.close(mark)
    elif not _is_marked(directory):
        raise NotOurs(
            f"{path}: holds {names[0]}, and no {MARK} says that tests/run made it; remove it, or "
            "name a directory that is new or empty"
        )


def _is_marked(directory: int) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        mark = os.open(MARK, flags, dir_fd=directory)
    except OSError:
        return False
    try:
        return os.read(mark, len(_TEXT) + 1) == _TEXT
    finally:
        os.close(mark)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
