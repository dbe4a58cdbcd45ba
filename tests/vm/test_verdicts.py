# SPDX-License-Identifier: Apache-2.0
"""Contract: no verdict is wrong. A host that dies, hangs or complains up to the end of a test's
teardown fails that test by name; what says nothing about the software is told apart, and the exit
status says which of them it was.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import paths
from support.outcomes import FAILED, NOT_JUDGED, PASSED, Result, Verdict

pytestmark = pytest.mark.of_the_lab

TRUTH = {
    "test_nothing_is_wrong": (PASSED, ""),
    "test_qemu_is_killed_after_the_last_assertion": (FAILED, "host1: its QEMU has ended"),
    "test_host_hangs_after_the_last_assertion": (FAILED, "host1: it does not answer"),
    "test_kernel_panics_after_the_last_assertion": (FAILED, "host1: its kernel has panicked"),
    "test_program_dumps_core": (FAILED, "planted, with a core"),
    "test_kernel_warns_in_teardown": (FAILED, "host1: kernel:"),
    "test_other_host_warns": (FAILED, "host1: kernel:"),
    "test_disk_is_full": (NOT_JUDGED, "No space left on device"),
    "test_guests_do_not_boot": (NOT_JUDGED, "BootPanic"),
}
# What is in the folder of a test beside what always is.
FILES = {"test_program_dumps_core": "host1.core.sh"}
# Of each outcome: a run's exit status if that is the worst of its tests.
STATUS = {PASSED: 0, FAILED: 1, NOT_JUDGED: 125}


@dataclass
class Run:
    """A run of planted tests."""

    returncode: int
    said: str
    results: dict[str, Result]
    folder: Path

    def evidence(self, test: str, name: str = "failure.txt") -> str:
        [folder] = (self.folder / "latest").glob(f"*.{test}_*")
        return (folder / name).read_text(errors="replace")


def run_planted(folder: Path, *tests: str) -> Run:
    """tests/run in an environment like the one this suite was started in."""
    # What says which run, and which part of the suite, this one is.
    own = {"FAMLAB_RUN", "SHARD", "TESTS", "HOSTS", "TOPOLOGY", "DAX", "CPUS", "KEEP", "REPEAT"}
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in own and not name.startswith(("PYTEST_", "FAMLAB_TEST_"))
    }
    # How hosts see memory makes no difference to a verdict, only to how long it takes.
    environment |= {paths.RESULTS_DIRECTORY: str(folder), "JOBS": "1", "MEMORY": "coherent"}
    words = ["vm", "vm/planted.py", "-k", " or ".join(tests)]
    done = subprocess.run(
        [paths.TESTS / "run", *words], env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, check=False,
    )  # fmt: skip
    verdict = Verdict.load(folder / "latest")
    results = {
        name.partition("::")[2].partition("[")[0]: result for name, result in verdict.tests.items()
    }
    return Run(done.returncode, done.stdout.decode(errors="replace"), results, folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("outcome", list(STATUS))
def test_planted_trouble_gets_its_verdict(folder: Path, outcome: str) -> None:
    """Each by the name of the test and of the host; and a run of them has the exit status."""
    expected = {name: words for name, (truth, words) in TRUTH.items() if truth == outcome}
    run = run_planted(folder, *expected)
    assert run.returncode == STATUS[outcome], run.said
    assert {name: result.outcome for name, result in run.results.items()} == dict.fromkeys(
        expected, outcome
    ), run.said
    for name, words in expected.items():
        if words:
            assert words in run.evidence(name)
        if name in FILES:
            assert run.evidence(name, FILES[name]).startswith("\x7fELF")
