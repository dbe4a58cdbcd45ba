# SPDX-License-Identifier: Apache-2.0
"""Contract: a test that runs into a time limit leaves what hung, while it still hangs."""

from __future__ import annotations

from support.tests.conftest import BOTH, Suite

BODY = """
import signal, time, pytest
from support.evidence import observer
from support.machine import LocalHost, stop_group
from support.paths import run_directory

@pytest.fixture
def host():
    host = LocalHost("host7", run_directory() / "h7")
    observer.add(host)
    process = host.start(["sleep", "1234"])
    yield host
    stop_group(process)
    observer.remove([host])
    import shutil
    shutil.rmtree(host.directory)

@pytest.mark.timeout(1)
def test_of_the_test(host):
    signal.pause()

def test_of_a_command(host):
    host.run(["sleep", "100"], timeout=0.5)

@pytest.fixture
def slow(host):
    host.run(["sleep", "100"], timeout=0.5)

def test_in_setup(slow):
    pass

def test_no_limit(host):
    pytest.fail("Timeout is a word")
"""


@BOTH
def test_stacks_are_left(suite: Suite, jobs: int) -> None:
    """That of the test, of a command, of a fixture; the processes of the host are in it."""
    run = suite.run(BODY, jobs=jobs)
    assert run.status == 1, run.output
    for test in ("test_of_the_test", "test_of_a_command", "test_in_setup"):
        text = (run.evidence(test) / "host7.stacks.txt").read_text()
        assert "sleep 1234" in text and "(sleep): S (sleeping)" in text, text
    assert not (run.evidence("test_no_limit") / "host7.stacks.txt").exists()
