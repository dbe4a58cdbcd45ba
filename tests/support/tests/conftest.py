# SPDX-License-Identifier: Apache-2.0
"""Small suites, written by a test and run by tests/run in a process of its own."""

from __future__ import annotations

import os
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import paths
from support.outcomes import Verdict

# In one process, and spread over two workers of pytest-xdist.
BOTH = pytest.mark.parametrize("jobs", [1, 2])


@dataclass
class Run:
    """What a run came to."""

    status: int
    output: str
    folder: Path

    @property
    def verdict(self) -> Verdict:
        return Verdict.load(self.folder)

    def outcomes(self) -> dict[str, str]:
        """What became of each test, by its name."""
        tests = self.verdict.tests.items()
        return {node_id.rpartition("::")[2]: result.outcome for node_id, result in tests}

    def evidence(self, test: str) -> Path:
        """The folder of a test."""
        [found] = [path for path in self.folder.iterdir() if path.name.endswith(f".{test}")]
        return found


@dataclass
class Suite:
    """A file of tests."""

    directory: Path

    @property
    def results(self) -> Path:
        return self.directory / "results"

    @property
    def file(self) -> Path:
        return self.directory / "test_small.py"

    def environment(self, **variables: str) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FAMLAB_", "PYTEST_"))
            and name not in (*paths.OVERRIDES, "TESTS", "SHARD", "REPEAT", "KEEP", "JOBS")
        }
        inherited[paths.RESULTS_DIRECTORY] = str(self.results)
        # Short, as there are sockets below it.
        inherited["TMPDIR"] = str(self.directory)
        return inherited | variables

    def write(self, body: str) -> Path:
        self.file.write_text(textwrap.dedent(body))
        return self.file

    def run(self, body: str, *arguments: str, jobs: int = 1, **variables: str) -> Run:
        """Runs these tests with further arguments and environment of tests/run."""
        self.write(body)
        words = ["bench", str(self.file), *(["-n", str(jobs)] if jobs > 1 else []), *arguments]
        done = subprocess.run(
            [str(paths.TESTS / "run"), *words],
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=60,
        )
        return Run(done.returncode, done.stdout.decode(), self.results / "latest")


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)
