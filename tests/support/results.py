# SPDX-License-Identifier: Apache-2.0
"""A folder for each run below that of its suite. The last ten are kept.

    SUITE/RUN/            what one run has left
    SUITE/latest          a link to the newest of them
    SUITE/junit.xml       a link to the report in it

Only folders of runs are ever removed: those of this user that carry the mark (support/ownership.py)
and a run's name, and that no run is using.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from pathlib import Path

from support import ownership, paths

KEPT = 10
LATEST = "latest"
REPORT = "junit.xml"
_NAME = re.compile(r"\d{8}T\d{6}-\d+")


class InTheWay(Exception):
    """Where a link of ours must go there is something else; the message says what to do."""


def suite_directory(suite: str) -> Path:
    """The folder of a suite's runs: FAMLAB_TEST_RESULTS, or below build/."""
    chosen = os.environ.get(paths.RESULTS_DIRECTORY)
    return Path(chosen).absolute() if chosen else paths.BUILD / "results" / suite


def begin(suite: Path) -> Path:
    """Makes the folder of a new run, which stays in use as long as this process lives.

    Raises InTheWay, ownership.NotOurs, or OSError if it cannot be made.
    """
    suite.mkdir(parents=True, exist_ok=True)
    for name in (LATEST, REPORT):
        _make_way(suite / name)
    # UTC, so that names sort by time whatever the clock is set to.
    run = suite / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"
    ownership.make_or_check_directory(run)
    _try_lock(run)
    _link(suite / LATEST, run.name)
    _link(suite / REPORT, f"{LATEST}/{REPORT}")
    _remove_old(suite)
    return run


def _make_way(link: Path) -> None:
    if link.is_symlink() or not link.exists():
        return
    if link.is_file() and link.is_relative_to(paths.BUILD):
        link.unlink()  # what is below build/ can be made again
        return
    raise InTheWay(f"{link}: not a link that a run has made; move it, or name another directory")


def _link(link: Path, target: str) -> None:
    fresh = link.with_name(f".{link.name}-{os.getpid()}")
    fresh.symlink_to(target)
    fresh.replace(link)


def _try_lock(run: Path) -> int | None:
    """A descriptor that holds the folder, or None if a living run has it."""
    descriptor = os.open(run / ownership.MARK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def runs(suite: Path) -> list[Path]:
    """The folders of runs, the oldest first."""
    found = (path for path in suite.iterdir() if _NAME.fullmatch(path.name))
    return sorted(path for path in found if path.is_dir() and not path.is_symlink())


def _remove_old(suite: Path) -> None:
    for run in runs(suite)[:-KEPT]:
        try:
            ownership.make_or_check_directory(run)
        except ownership.NotOurs:
            continue
        held = _try_lock(run)
        if held is not None:
            shutil.rmtree(run)
            os.close(held)
