# SPDX-License-Identifier: Apache-2.0
"""Contract: a failure can be looked at: kept as it is, stopped at in a debugger, repeated."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time

import pytest
from support import leaks, paths
from support.tests.conftest import Suite

KEEPS = """
import pathlib, subprocess, pytest
from support import plugin
from support.evidence import NewLogs, observer
from support.paths import run_directory

class Host:
    name = "host0"
    said = ""

    def new_logs(self):
        said, Host.said = Host.said, ""
        return NewLogs(kernel_log=said)

    def how_to_enter(self):
        return "enter-host0"

@pytest.fixture(scope="session")
def lab():
    observer.add(Host())
    plugin.adopt(pathlib.Path("sleep 1000"))
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    yield run_directory()
    process.kill()
    process.wait()

@pytest.fixture
def mount(lab):
    (lab / "mounted").touch()
    yield lab
    (lab / "mounted").unlink()

def test_before(mount):
    pass

def test_x(mount):
    {statement}

def test_after(mount):
    pass
"""


@pytest.mark.parametrize(
    "statement",
    ["assert False", 'Host.said = "[    1.0] WARNING: CPU: 0 PID: 1 at x"'],
    ids=["assertion", "heard-at-its-end"],
)
def test_kept(suite: Suite, statement: str) -> None:
    """KEEP=1: nothing is torn down after the first failure; it says how to enter and to end it."""
    run = suite.run(KEEPS.format(statement=statement), KEEP="1")
    [directory] = suite.directory.glob("ft-*")
    try:
        assert run.status == 1, run.output
        assert run.outcomes() == {"test_before": "passed", "test_x": "failed"}
        assert "host0: enter-host0" in run.output
        assert (directory / "mounted").exists()
        [process] = leaks.processes_of(directory.name, directory)
        assert process.command == "sleep 1000"
        assert f"tests/run --end {directory}" in run.output
    finally:
        words = [str(paths.TESTS / "run"), "--end", str(directory)]
        subprocess.run(words, env=suite.environment(), check=True)
    assert not directory.exists() and not leaks.processes_of(directory.name, directory)


def test_nothing_is_kept_of_what_passes(suite: Suite) -> None:
    run = suite.run(KEEPS.format(statement="pass"), KEEP="1")
    assert run.status == 0 and not list(suite.directory.glob("ft-*")), run.output


def test_only_what_was_kept_is_ended(suite: Suite) -> None:
    """--end takes no directory that no run has left."""
    (suite.directory / "letters").touch()
    words = [str(paths.TESTS / "run"), "--end", str(suite.directory)]
    done = subprocess.run(words, env=suite.environment(), stderr=subprocess.PIPE)
    assert done.returncode == 2 and (suite.directory / "letters").exists()


FLAKY = """
import pathlib, pytest

@pytest.mark.parametrize("kind", ["a", "b"])
def test_x(kind, tmp_path_factory):
    file = pathlib.Path("{counter}")
    if kind == "a":
        file.write_text(file.read_text() + "x" if file.exists() else "x")
        assert len(file.read_text()) % 3
"""


def test_repeated(suite: Suite) -> None:
    """REPEAT=7: how often each test failed; each time has evidence of its own."""
    run = suite.run(FLAKY.format(counter=suite.directory / "counter"), REPEAT="7")
    assert run.status == 1
    assert "test_x[a]: failed 2 of 7 times" in run.output, run.output
    assert "test_x[b]: failed 0 of 7 times" in run.output
    assert "12 passed, 2 failed" in run.output
    assert run.outcomes()["test_x[a] #3"] == "failed"
    folder = run.evidence("test_x_a_3")
    assert "test_x[a]'" in (folder / "repro.sh").read_text()


def test_one_test_by_name_repeated(suite: Suite) -> None:
    """The name is that of the test, as repro.sh has it; with workers too."""
    body = FLAKY.format(counter=suite.directory / "counter")
    suite.write(body)
    words = ["bench", f"{suite.file}::test_x[b]", "-n", "2"]
    done = subprocess.run(
        [str(paths.TESTS / "run"), *words],
        env=suite.environment(REPEAT="5"),
        stdout=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0 and b"5 passed" in done.stdout, done.stdout.decode()


def test_repeat_is_a_number(suite: Suite) -> None:
    run = suite.run("def test_x():\n    pass\n", REPEAT="often")
    assert run.status == 2 and "REPEAT=often" in run.output


CTRL_C = "\x03"


def converse(command: list[str], environment: dict[str, str], answers: list[str]) -> str:
    """Runs a command on a terminal of its own; answers each (Pdb) in turn. Returns its words."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, environment)
    said, pending, seen, answer = "", list(answers), 0, ""
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 1)[0]:
                said += os.read(terminal, 4096).decode(errors="replace")
                if pending and "(Pdb) " in said[seen:]:
                    seen, answer = len(said), pending.pop(0)
                    os.write(terminal, answer.encode())
            elif answer == CTRL_C and "--KeyboardInterrupt--" not in said:
                # Python forgets one between the prompt and its select(): a person types it again.
                os.write(terminal, answer.encode())
    except OSError:  # EIO: it has ended
        pass
    os.close(terminal)  # a hangup, if it has not
    os.waitpid(pid, 0)
    return said


@pytest.mark.parametrize("statement", ["assert False", 'pytest.skip("not today")', "leave()"])
def test_debugger(suite: Suite, statement: str) -> None:
    """--pdb has the terminal, and stops for what the plug-in finds too: a leak, a bad skip."""
    suite.write(
        f"""
import pytest
from support.paths import run_directory

def leave():
    (run_directory() / "left").touch()

def test_x():
    {statement}
"""
    )
    said = converse(
        [str(paths.TESTS / "run"), "bench", str(suite.file), "--pdb"],
        suite.environment(),
        ["print(6 * 7)\n", CTRL_C, "continue\n"],
    )
    assert "entering PDB" in said and "\n42" in said and "--KeyboardInterrupt--" in said, said
    assert "1 failed" in said


def test_found_by_workers_too(suite: Suite) -> None:
    """The stop at what the plug-in finds does no harm where there is no debugger."""
    body = "from support.paths import run_directory\n\n"
    body += "def test_x():\n    (run_directory() / 'x').touch()\n"
    run = suite.run(body, jobs=2)
    assert run.status == 1 and "left behind: file" in run.output, run.output
