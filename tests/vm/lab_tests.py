# SPDX-License-Identifier: Apache-2.0
"""Tests of the lab itself (mark `of_the_lab`): one that passed does not run again on the same lab.

They say nothing about famfs or a kernel, which is what changes between most runs. The same lab is
one with the same files, emulator and kind of memory; FULL=1, and who names tests, runs them all.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from famlab_vm import Artifacts
from support import paths, repeat, selection

MARK = "of_the_lab"
_PASSED = paths.BUILD / "lab-tests.passed"
# What the lab and these tests are made of; other tests are not part of it.
_FOLDERS = ("vm", "images", "setup", "tests")
_OTHER_TESTS = ("tests/bench", "tests/host")
_ENVIRONMENT = ("MEMORY", "FAMFS_BIN")


def _files() -> Iterator[Path]:
    for folder in _FOLDERS:
        for path in sorted((paths.REPOSITORY / folder).rglob("*")):
            name = path.relative_to(paths.REPOSITORY).as_posix()
            if not path.is_file() or path.suffix in (".pyc", ".md"):
                continue
            if name.startswith(_OTHER_TESTS):
                continue
            other = path.name.startswith("test_") and f"mark.{MARK}" not in path.read_text()
            if not other:
                yield path


@functools.cache
def _same_lab() -> str:
    """A name for the lab as it was when it was first asked for."""
    made = hashlib.sha256()
    words = [str(Artifacts.find().qemu.resolve())]
    words += [os.environ.get(name, "") for name in _ENVIRONMENT]
    made.update(json.dumps(words).encode())
    for path in _files():
        content = path.read_bytes()
        made.update(f"{path.relative_to(paths.REPOSITORY)} {len(content)}\n".encode())
        made.update(content)
    return made.hexdigest()


def passed() -> frozenset[str]:
    """The tests that have passed on this lab, by their node ids."""
    this = _same_lab()
    try:
        lab, tests = json.loads(_PASSED.read_text())
    except (OSError, ValueError):
        return frozenset()
    return frozenset(tests) if lab == this else frozenset()


def left_out(config: pytest.Config) -> bool:
    """Whether they are: who names a file of tests, or tests, wants these."""
    return config.args == ["vm"] and not selection.of_all(config)


def not_again(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """`items` without those that have passed on this lab."""
    before = passed()
    return [item for item in items if item.nodeid not in before]


def described() -> list[str]:
    """For the header of a run that leaves some out."""
    if not (count := len(passed())):
        return []
    return [f"{count} tests of the lab itself have passed on this lab; FULL=1 runs them again"]


def note(terminal: Any) -> None:
    """Keeps which tests have passed in this run."""
    if repeat.count() > 1:
        return
    failed = {
        report.nodeid for kind in ("failed", "error") for report in terminal.getreports(kind)
    }
    now = {
        report.nodeid
        for report in terminal.getreports("passed")
        if report.when == "call" and MARK in report.keywords and report.nodeid not in failed
    }
    before = passed()
    if (tests := (before - failed) | now) != before:
        _PASSED.write_text(json.dumps([_same_lab(), sorted(tests)], indent=1) + "\n")
