# SPDX-License-Identifier: Apache-2.0
"""Contract: with FAMFS_BIN the suites test other programs of the same command line. What those lack
is a skip that names it, what they get wrong is a failure, and a wrong directory is refused at once.

Each test here makes such programs of ours with a small wrapper, and runs a test of another file.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import paths

FLUSHES = "host/test_faults.py::test_flushed_write_survives_the_death_of_its_writer"
UMOUNTS = "host/test_faults.py::test_client_killed_and_back"
MULTI = "host/test_making.py::test_multi_makes_what_it_can"


def run_with(directory: Path, results: Path, test: str) -> tuple[int, str]:
    """Exit code and words of a run of one test with the programs of a directory."""
    environment = {
        **os.environ,
        "FAMFS_BIN": str(directory),
        "TESTS": "",
        paths.RESULTS_DIRECTORY: str(results / "results"),
    }
    environment.pop("CI", None)
    done = subprocess.run(
        [sys.executable, str(paths.TESTS / "run"), "host", test],
        env=environment,
        cwd=results,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=110,
    )
    return done.returncode, done.stdout.decode()


@pytest.fixture
def programs(directory: Path) -> Path:
    """Ours, in a directory of their own."""
    place = directory / "bin"
    place.mkdir()
    for name in ("famfs", "mkfs.famfs", "famfsd"):
        (place / name).symlink_to(paths.BINARIES / name)
    return place


def wrap(programs: Path, script: str) -> None:
    """`famfs` is a script before ours, which is $famfs."""
    famfs = programs / "famfs"
    real = famfs.resolve()
    famfs.unlink()
    famfs.write_text(f'#!/bin/sh\nfamfs={real}\n{script}\nexec "$famfs" "$@"\n')
    famfs.chmod(0o755)


def test_the_same_programs_pass(directory: Path, programs: Path) -> None:
    """Ours under another name of their directory."""
    code, said = run_with(programs, directory, FLUSHES)
    assert code == 0 and "2 passed, 0 failed, 0 skipped" in said, said


def test_a_missing_command_is_a_named_skip(directory: Path, programs: Path) -> None:
    """`famfs flush` is not there: who needs it is skipped."""
    wrap(programs, '[ "$1" != flush ] || { echo "famfs: no such command" >&2; exit 3; }')
    code, said = run_with(programs, directory, FLUSHES)
    assert code == 0 and "0 passed, 0 failed, 2 skipped" in said, said
    assert "missing feature: famfs flush:" in said


def test_a_missing_option_is_a_named_skip(directory: Path, programs: Path) -> None:
    """The help of `famfs creat` does not name --multi."""
    hide = '"$famfs" "$@" 2>&1 | sed /multi/d; exit'
    wrap(programs, f'case "$*" in "-h creat" | "creat -?" | creat) {hide} ;; esac')
    code, said = run_with(programs, directory, MULTI)
    assert code == 0 and "0 passed, 0 failed, 1 skipped" in said, said
    assert "missing feature: famfs creat --multi:" in said


def test_umount_needs_no_command(directory: Path, programs: Path) -> None:
    """Without `famfs umount` there is umount(8)."""
    wrap(programs, '[ "$1" != umount ] || { echo "famfs: no such command" >&2; exit 3; }')
    code, said = run_with(programs, directory, UMOUNTS)
    assert code == 0 and "2 passed, 0 failed, 0 skipped" in said, said


def test_a_wrong_answer_is_a_failure(directory: Path, programs: Path) -> None:
    """`famfs flush` is there and fails."""
    wrap(programs, '[ "$1 $#" != "flush 2" ] || { echo "no luck" >&2; exit 5; }')
    code, said = run_with(programs, directory, FLUSHES)
    assert code == 1 and "0 passed, 2 failed" in said, said
    assert "no luck" in said and "missing feature" not in said


@pytest.mark.parametrize("name", ["famfs", "mkfs.famfs", "famfsd"])
def test_a_missing_program_ends_the_run(directory: Path, programs: Path, name: str) -> None:
    """Before any test, with what was looked for."""
    (programs / name).unlink()
    code, said = run_with(programs, directory, FLUSHES)
    assert code == 125 and name in said, said  # what `git bisect run` skips
    assert "looked for famfs, mkfs.famfs, famfsd or famfs_fused" in said
    assert "passed" not in said


def test_a_directory_that_is_not_there_ends_make(directory: Path) -> None:
    """make test-vm, which would build first."""
    wrong = directory / "nothing"
    done = subprocess.run(
        ["make", "-C", str(paths.REPOSITORY), "test-vm", f"FAMFS_BIN={wrong}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=110,
    )
    assert done.returncode != 0
    assert f"FAMFS_BIN={wrong}: no such directory" in done.stdout.decode()
