# SPDX-License-Identifier: Apache-2.0
"""Contract: the exit status says whether the software under test failed, or could not be judged."""

from __future__ import annotations

import os
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import paths
from support.skips import missing_feature
from support.tests.conftest import BOTH, Run, Suite

HEAD = """
import errno, os, subprocess, pytest
from support import verdict
from support.verdict import CannotJudge

class LabDoesNotStart(Exception):
    pass

verdict.not_judged_in_setup(LabDoesNotStart)

@pytest.fixture
def lab():
    try:
        raise LabDoesNotStart("QEMU died")
    except LabDoesNotStart as error:
        raise RuntimeError("no lab") from error

def test_passes():
    pass
"""


def tag_of(run: Run, test: str) -> tuple[str, str | None]:
    """The element of junit.xml that says what was wrong with a test, and its type."""
    for case in ElementTree.parse(run.folder / "junit.xml").iter("testcase"):
        if case.get("name") == test:
            [element] = [one for one in case if one.tag in ("failure", "error")]
            return element.tag, element.get("type")
    raise AssertionError(f"{test} is not in junit.xml")


@BOTH
def test_all_pass(suite: Suite, jobs: int) -> None:
    run = suite.run(HEAD, jobs=jobs)
    assert run.status == 0 and "1 passed, 0 failed, 0 skipped" in run.output, run.output


OBSTACLES = """
def test_setup(lab):
    pass

def test_not_built():
    raise CannotJudge("run make")

def test_disk_full():
    raise OSError(errno.ENOSPC, "No space left")

@pytest.fixture
def quota():
    yield
    raise OSError(errno.EDQUOT, "over quota")

def test_quota(quota):
    pass
"""
CAUSES = {
    "test_setup": "LabDoesNotStart: QEMU died",
    "test_not_built": "CannotJudge: run make",
    "test_disk_full": "OSError: [Errno 28] No space left",
    "test_quota": "OSError: [Errno 122] over quota",
}


@BOTH
def test_what_says_nothing_is_told_apart(suite: Suite, jobs: int) -> None:
    """Status 125; in the summary with its cause, and an error of its own type in junit.xml."""
    run = suite.run(HEAD + OBSTACLES, jobs=jobs)
    assert run.status == 125, run.output
    assert "1 passed, 0 failed, 4 could not be judged" in run.output
    assert "= could not be judged =" in run.output
    for test, cause in CAUSES.items():
        assert run.outcomes()[test] == "not judged"
        assert f"::{test}: {cause}\n" in run.output
        assert tag_of(run, test) == ("error", "infrastructure")


def test_the_same_in_the_test_is_a_failure(suite: Suite) -> None:
    """A host that dies when the test runs, or in teardown, is the software's fault."""
    body = HEAD + 'def test_x():\n    raise LabDoesNotStart("died")\n'
    assert suite.run(body).status == 1
    body = HEAD + (
        '@pytest.fixture\ndef f():\n    yield\n    raise LabDoesNotStart("died")\n'
        "def test_x(f):\n    pass\n"
    )
    run = suite.run(body)
    assert run.status == 1 and run.outcomes()["test_x"] == "failed"


@BOTH
def test_a_failure_outweighs_it(suite: Suite, jobs: int) -> None:
    body = HEAD + "def test_x(lab):\n    pass\n\ndef test_y():\n    assert 1 == 2\n"
    run = suite.run(body, jobs=jobs)
    assert run.status == 1 and tag_of(run, "test_y")[0] == "failure"
    assert run.outcomes()["test_x"] == "not judged"


def test_what_follows_is_no_failure(suite: Suite) -> None:
    """A lab that panics while it boots: its console is read when it is torn down."""
    body = HEAD + """
from support.evidence import NewLogs, observer

class Host:
    name = "host0"

    def new_logs(self):
        return NewLogs(console="[    1.0] Kernel panic - not syncing: no init")

@pytest.fixture
def panics():
    observer.add(Host())
    raise LabDoesNotStart("panic")

def test_x(panics):
    pass
"""
    run = suite.run(body)
    assert run.status == 125 and "Kernel panic - not syncing" in run.output, run.output


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    if os.geteuid() != 0:
        missing_feature("root", "only root can mount a small file system")
    place = tmp_path / "small"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(place)]
    subprocess.run(words, check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_disk_that_is_full_for_others(suite: Suite, small_disk: Path) -> None:
    """A host fails as it cannot write: Python sees no such error, but the disk is full."""
    body = HEAD + (
        "def test_x():\n"
        "    fill = 'dd if=/dev/zero of=$TMPDIR/f bs=64k; exit 7'\n"
        "    subprocess.run(fill, shell=True, check=True)\n"
    )
    run = suite.run(body, TMPDIR=str(small_disk))
    assert run.status == 125 and "disk full" in run.output, run.output


def test_no_room_for_the_results(suite: Suite, small_disk: Path) -> None:
    """Also where the verdict itself cannot be written any more."""
    body = HEAD + (
        "def test_x():\n"
        "    subprocess.run('dd if=/dev/zero of=$FAMLAB_TEST_RESULTS/f', shell=True)\n"
        "    assert False\n"
    )
    run = suite.run(body, FAMLAB_TEST_RESULTS=str(small_disk))
    assert run.status == 125, run.output
    run = suite.run(HEAD, FAMLAB_TEST_RESULTS=str(small_disk))
    assert run.status == 125, run.output


@BOTH
def test_a_file_that_cannot_be_collected(suite: Suite, jobs: int) -> None:
    """Nothing runs, so nothing is judged."""
    run = suite.run("import no_such_module\n" + HEAD, jobs=jobs)
    assert run.status == 125 and "no_such_module" in run.output, run.output


def test_a_worker_that_is_gone(suite: Suite) -> None:
    """Killed for lack of memory, say: its test has no verdict, the others have theirs."""
    body = HEAD + "def test_x():\n    os.kill(os.getpid(), 9)\n"
    run = suite.run(body, jobs=2)
    assert run.status == 125, run.output
    assert run.outcomes() == {"test_passes": "passed", "test_x": "not judged"}
    assert tag_of(run, "test_x") == ("error", "infrastructure")


def test_the_runner_is_gone(suite: Suite) -> None:
    """The same without workers: there is no report at all."""
    run = suite.run(HEAD + "def test_x():\n    os.kill(os.getpid(), 9)\n")
    assert run.status == 125 and "left no verdict" in run.output, run.output


def test_a_broken_hook(suite: Suite) -> None:
    """An error of the runner itself is not one of the software."""
    (suite.directory / "conftest.py").write_text("def pytest_runtest_logfinish():\n    1 / 0\n")
    run = suite.run(HEAD)
    assert run.status == 125 and "ZeroDivisionError" in run.output, run.output


def test_stopped_at_the_first_failure(suite: Suite) -> None:
    """-x: what did not run was not to run."""
    body = HEAD + "def test_x():\n    assert False\n\ndef test_y():\n    pass\n"
    for jobs in (1, 2):
        assert suite.run(body, "-x", jobs=jobs).status == 1


def test_usage_and_empty_selections(suite: Suite) -> None:
    assert suite.run(HEAD, "--no-such-option").status == 2
    assert suite.run(HEAD, "-k", "nothing_of_that_name").status == 5


@BOTH
def test_skips_are_counted_by_feature(suite: Suite, jobs: int) -> None:
    """On a kernel without the methods most is skipped: no failure, but it is said."""
    body = HEAD + """
from support.skips import missing_feature

@pytest.mark.parametrize("n", range(3))
def test_x(n):
    missing_feature("kmap", "the kernel has no method")

def test_y():
    missing_feature("kunit", "not built")
"""
    run = suite.run(body, jobs=jobs)
    assert run.status == 0
    assert "missing feature: kmap: 3 tests skipped" in run.output
    assert "1 passed, 0 failed, 4 skipped (missing feature: kmap 3, kunit 1)" in run.output


def test_programs_that_are_not_built(suite: Suite) -> None:
    """A commit that does not compile is skipped by `git bisect run`."""
    run = suite.run(HEAD, FAMFS_BIN=str(suite.directory / "nowhere"))
    assert run.status == 125 and "no such directory" in run.output


def test_bisect_finds_the_commit(suite: Suite) -> None:
    """git bisect over eight commits: two cannot be judged, the sixth breaks it."""
    repository = suite.directory / "repository"
    suite.write(
        HEAD + f"""
def test_x():
    state = open("{repository}/state").read()
    if "unbuilt" in state:
        raise CannotJudge("not built")
    assert "broken" not in state
"""
    )

    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", *words]
        done = subprocess.run(
            command, cwd=repository, env=suite.environment(), stdout=subprocess.PIPE, check=True,
            stderr=subprocess.STDOUT, timeout=120,
        )  # fmt: skip
        return done.stdout.decode()

    repository.mkdir()
    git("init", "-q")
    for number in range(1, 9):
        words = ["unbuilt"] if number in (2, 4) else []
        (repository / "state").write_text(" ".join([str(number), *words, "broken" * (number > 5)]))
        git("add", "state")
        git("commit", "-q", "-m", f"commit {number}")
    git("bisect", "start", "HEAD", "HEAD~7")
    said = git("bisect", "run", str(paths.TESTS / "run"), "bench", str(suite.file))
    assert "is the first bad commit" in said, said
    assert git("log", "-1", "--format=%s", "refs/bisect/bad").strip() == "commit 6"
