# SPDX-License-Identifier: Apache-2.0
"""Contract: a run's folder outlives later runs, and nothing that no run has made is removed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ownership, paths, results
from support.tests.conftest import Suite

PASSES = "def test_passes():\n    pass\n"


def begin_in_another_process(suite: Path) -> Path:
    """A run that has ended; names differ by the process id."""
    script = "import sys; from pathlib import Path; from support import results; "
    script += "print(results.begin(Path(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", script, str(suite)],
        cwd=paths.TESTS,
        stdout=subprocess.PIPE,
        check=True,
    )
    return Path(done.stdout.decode().strip())


def age(suite: Path) -> None:
    """Gives the folders of runs names of the past, in their order."""
    for number, run in enumerate(results.runs(suite)):
        run.rename(suite / f"20200101T{number:06}-1")


def test_a_run_leaves_a_folder_of_its_own(suite: Suite) -> None:
    """The second run leaves what the first has left; the links name the newest."""
    first = suite.run(PASSES)
    assert first.status == 0, first.output
    old = first.folder.resolve()
    second = suite.run(PASSES)
    assert (old / "junit.xml").exists() and second.folder.resolve() != old
    assert (suite.results / "junit.xml").resolve() == second.folder.resolve() / "junit.xml"
    assert str(second.folder.resolve()) in second.output


def test_the_last_ten_are_kept(tmp_path: Path) -> None:
    """The oldest goes when there are more, with all that is in it."""
    for _ in range(results.KEPT):
        (begin_in_another_process(tmp_path) / "junit.xml").touch()
        age(tmp_path)
    oldest, *others = results.runs(tmp_path)
    newest = begin_in_another_process(tmp_path)
    assert results.runs(tmp_path) == [*others, newest]


def test_a_run_that_goes_on_is_kept(tmp_path: Path) -> None:
    """However many come after it; when it has ended, it is as old as it is."""
    mine = results.begin(tmp_path)
    oldest = mine.rename(tmp_path / "20190101T000000-1")
    for _ in range(results.KEPT + 1):
        begin_in_another_process(tmp_path)
        assert oldest.exists()


def test_only_folders_of_runs_are_removed(tmp_path: Path) -> None:
    """One of another name, one without our mark, a link, one of another user."""
    kept = [tmp_path / "20180101-notes", tmp_path / "20180101T000000-1"]
    for path in kept:
        path.mkdir()
        (path / "letter").touch()
    linked = tmp_path / "20180101T000000-2"
    linked.symlink_to(kept[0])
    theirs = tmp_path / "20180101T000000-3"
    ownership.make_or_check_directory(theirs)
    os.chown(theirs, 1, 1)
    for _ in range(results.KEPT + 2):
        begin_in_another_process(tmp_path)
    assert all((path / "letter").exists() for path in kept)
    assert linked.is_symlink() and theirs.exists()


def test_a_directory_of_somebody_is_not_emptied(suite: Suite) -> None:
    """FAMLAB_TEST_RESULTS=$HOME: what is there stays, and one folder is added."""
    home = suite.results
    (home / "letters").mkdir(parents=True)
    (home / "letters" / "one").touch()
    assert suite.run(PASSES).status == 0
    assert (home / "letters" / "one").exists()


@pytest.mark.parametrize("name", ["latest", "junit.xml"])
def test_nothing_is_replaced_by_a_link(suite: Suite, name: str) -> None:
    """A file of somebody with the name of a link of ours: the run ends before it begins."""
    suite.results.mkdir()
    (suite.results / name).write_text("mine")
    run = suite.run(PASSES)
    assert run.status == 2 and "move it, or name another directory" in run.output
    assert (suite.results / name).read_text() == "mine"
    assert [path.name for path in suite.results.iterdir()] == [name]
