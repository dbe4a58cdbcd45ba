# SPDX-License-Identifier: Apache-2.0
"""What a run comes to, and what is no fault of the software under test.

A lab that does not start, a full disk or a program that was never built says nothing about what is
tested: such a test could not be judged. It counts neither as passed nor as failed.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NoReturn

import pytest

from support import leaks, paths


class Exit(IntEnum):
    """Exit status of tests/run; `git bisect run` understands it."""

    PASSED = 0
    FAILED = 1
    USAGE = 2
    NOTHING_SELECTED = 5
    NOT_JUDGED = 125
    INTERRUPTED = 130


class CannotJudge(Exception):
    """What a test needs of this machine is not there; the message says what to do."""


# A file system of ours with less free than this is full.
_FULL_BYTES = 1 << 20
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_in_setup: list[type[BaseException]] = []


def not_judged_in_setup(*types: type[BaseException]) -> None:
    """Errors of these types say nothing about the software under test if a fixture raises them."""
    _in_setup.extend(types)


def refuse(why: str) -> NoReturn:
    """Ends the session before a test has run, as nothing could be judged."""
    pytest.exit(why, returncode=Exit.NOT_JUDGED)


def chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that led to it."""
    pending, seen = [error], set[int]()
    while pending:
        one = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        pending += [other for other in (one.__cause__, one.__context__) if other is not None]


def obstacle(error: BaseException | None, when: str) -> str:
    """Why a phase of a test (`setup`, `call`, `teardown`) could not be judged; empty if it could.

    `error` is what the phase ended with; None if it is the plug-in that has found a fault.
    """
    for one in chain(error) if error is not None else ():
        if isinstance(one, CannotJudge) or (when == "setup" and isinstance(one, tuple(_in_setup))):
            return f"{type(one).__name__}: {str(one) or 'no message'}".splitlines()[0]
        if isinstance(one, OSError) and one.errno in _DISK_FULL and not _is_tested(one.filename):
            return f"{type(one).__name__}: {one}"
    return full_disk()


def _is_tested(filename: object) -> bool:
    """Whether a file lies in a file system that a test has mounted."""
    if not isinstance(filename, str):
        return False
    mounts = leaks.mounts_below(paths.run_directory())
    return any(Path(filename).is_relative_to(mount) for mount in mounts)


def full_disk() -> str:
    """Which place that a run writes to is full; empty if none is."""
    for place in (paths.results_directory(), paths.run_directory(), Path("/dev/shm"),
                  Path(tempfile.gettempdir())):  # fmt: skip
        try:
            status = os.statvfs(place)
        except OSError:
            continue
        blocks = status.f_bfree if os.geteuid() == 0 else status.f_bavail
        if status.f_blocks and blocks * status.f_frsize < _FULL_BYTES:
            return f"disk full: {place} has {blocks * status.f_frsize >> 10} KiB left"
    return ""
