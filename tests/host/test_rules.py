# SPDX-License-Identifier: Apache-2.0
"""Contract: the rules that hold every test are enforced: what a test leaves behind, what a kernel
or a daemon complains of, and a skip without a named feature each fail the test that caused it; an
interrupted run leaves the machine clean.

Each test here writes a small test file, runs it in a pytest of its own, and reads the verdict.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import leaks, paths


@dataclass
class SubRun:
    """A pytest run of its own, with its own run directory and results."""

    directory: Path

    @property
    def results(self) -> Path:
        return self.directory / "results"

    def environment(self, **extra: str) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in (paths.RUN_MARKER, paths.RUN_DIRECTORY, "CI", "TESTS")
        }
        inherited[paths.RESULTS_DIRECTORY] = str(self.results)
        inherited["TMPDIR"] = str(self.directory)
        return inherited | extra

    def write(self, body: str) -> Path:
        path = self.directory / "test_sub.py"
        path.write_text(textwrap.dedent(body))
        return path

    def run(self, body: str, **extra: str) -> tuple[int, str]:
        """Exit code and output of pytest over a file with this body."""
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            str(paths.TESTS / "pytest.ini"),
            "-p",
            "no:cacheprovider",
        ]
        done = subprocess.run(
            [*command, str(self.write(body))],
            env=self.environment(**extra),
            cwd=paths.TESTS,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout.decode()


@pytest.fixture
def sub_run(directory: Path) -> SubRun:
    return SubRun(directory)


LEFT = {
    "process": (
        """
        import subprocess
        subprocess.Popen(["sleep", "300"], start_new_session=True)
        """,
        r"left behind: process \d+ \(sleep 300\)",
    ),
    "mount": (
        """
        import subprocess
        (run_directory() / "mnt").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", run_directory() / "mnt"], check=True)
        """,
        r"left behind: mount /\S+/mnt",
    ),
    "file": (
        """
        (run_directory() / "forgotten").write_text("x")
        """,
        r"left behind: file /\S+/forgotten",
    ),
    "file in /dev/shm": (
        """
        import pathlib
        pathlib.Path("/dev/shm", run_directory().name + "-memory").write_text("x")
        """,
        r"left behind: file /dev/shm/\S+-memory",
    ),
    "socket": (
        """
        import socket
        global kept
        kept = socket.socket(socket.AF_UNIX)
        kept.bind(str(run_directory() / "sock"))
        """,
        r"left behind: socket /\S+/sock",
    ),
    "socket whose file is gone": (
        """
        import socket
        global kept_too
        kept_too = kept = socket.socket(socket.AF_UNIX)
        kept.bind(str(run_directory() / "sock2"))
        kept.listen()
        (run_directory() / "sock2").unlink()
        """,
        r"left behind: socket /\S+/sock2",
    ),
}


def test_what_a_test_leaves_fails_it(sub_run: SubRun) -> None:
    """Each kind of leak fails the test that made it, not the next; in the end all is gone."""
    tests = ["from support.paths import run_directory\n"]
    for number, (body, _) in enumerate(LEFT.values()):
        tests.append(
            f"def test_leaves_{number}():\n" + textwrap.indent(textwrap.dedent(body), "    ")
        )
        tests.append(f"def test_after_{number}():\n    pass\n")
    code, output = sub_run.run("\n".join(tests))
    assert code == 1, output
    # The leak shows after the test itself has passed: an error beside the pass.
    assert f"{2 * len(LEFT)} passed, {len(LEFT)} errors" in output
    for number, (_, message) in enumerate(LEFT.values()):
        assert re.search(message, output), output
        assert f"ERROR at teardown of test_leaves_{number} " in output
    assert not list(sub_run.directory.glob("ft-*")), output
    assert not leaks.mounts_below(sub_run.directory)


WITNESS = """
    import pytest
    from support.evidence import NewLogs, observer

    class Host:
        name = "host7"
        said = []

        def new_logs(self):
            said, Host.said = Host.said, []
            return NewLogs(**dict(said))

    @pytest.fixture(scope="session", autouse=True)
    def host():
        observer.add(Host())

    def test_quiet():
        pass

    {marker}
    def test_that_causes_it():
        Host.said = [("{log}", "[    1.0] hello\\n{line}\\n[    2.0] bye\\n")]

    def test_innocent():
        pass
"""
KERNEL_LINES = [
    "[    1.5] WARNING: CPU: 0 PID: 77 at drivers/dax/bus.c:12 dev_dax_probe+0x1/0x2",
    "[    1.5] BUG: kernel NULL pointer dereference, address: 0000000000000000",
    "[    1.5] Call Trace:",
    "[    1.5] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00007f00",
    "[    1.5] INFO: task famfsd:33 blocked for more than 120 seconds.",
    "[    1.5] UBSAN: array-index-out-of-bounds in fs/fuse/dev.c:1",
]


@pytest.mark.parametrize("log", ["kernel_log", "console"])
def test_kernel_complaint_fails_the_test_that_caused_it(sub_run: SubRun, log: str) -> None:
    """A kernel's warning or trace, in dmesg or on the console, fails that test and only that."""
    causes = '@pytest.mark.parametrize("line", ' + repr(KERNEL_LINES) + ")"
    body = textwrap.dedent(WITNESS.format(marker="", log=log, line="quiet"))
    body += f"\n{causes}\ndef test_causes(line):\n    Host.said = [({log!r}, line)]\n\n"
    body += "def test_innocent_too():\n    pass\n"
    code, output = sub_run.run(body)
    assert code == 1, output
    assert f"{len(KERNEL_LINES)} failed, 4 passed" in output
    for line in KERNEL_LINES:
        assert f"host7: kernel: {line}" in output


def test_kernel_complaint_asked_for_is_no_failure(sub_run: SubRun) -> None:
    """A test that makes the kernel complain on purpose says so."""
    marker = '@pytest.mark.expects_kernel_trouble("WARNING: CPU", host="host7")'
    code, output = sub_run.run(
        WITNESS.format(marker=marker, log="kernel_log", line=KERNEL_LINES[0])
    )
    assert code == 0, output


def test_daemon_error_line_fails_the_test(sub_run: SubRun) -> None:
    """An error line in a daemon's log fails the test, unless the test expects this very line."""
    line = "[2026-11-22 07:00:00.000] [error] cannot read entry 7"
    code, output = sub_run.run(WITNESS.format(marker="", log="daemon_log", line=line))
    assert code == 1 and f"host7: famfsd: {line}" in output
    assert "1 failed, 2 passed" in output
    marker = '@pytest.mark.expects_daemon_errors("entry 7")'
    code, output = sub_run.run(WITNESS.format(marker=marker, log="daemon_log", line=line))
    assert code == 0, output
    marker = '@pytest.mark.expects_daemon_errors("entry 8")'
    code, output = sub_run.run(WITNESS.format(marker=marker, log="daemon_log", line=line))
    assert code == 1, output


SKIP = """
    import pytest
    from support.skips import missing_feature

    def test_skips():
        {statement}
"""


def test_skip_names_a_missing_feature(sub_run: SubRun) -> None:
    """pytest.skip with some reason fails; missing_feature() is a skip, in CI only if allowed."""
    named = SKIP.format(statement='missing_feature("time machine", "no flux capacitor")')
    code, output = sub_run.run(named)
    assert code == 0 and "1 skipped" in output and "time machine" in output
    code, output = sub_run.run(named, CI="true")
    assert code == 1 and "allowed-skips.txt" in output, output
    code, output = sub_run.run(SKIP.format(statement='pytest.skip("not today")'))
    assert code == 1 and "without naming a missing feature" in output, output
    code, output = sub_run.run(SKIP.format(statement='pytest.importorskip("no_such_module")'))
    assert code == 1, output


def test_skip_of_a_whole_file_is_held_to_the_rule(sub_run: SubRun) -> None:
    """A file that skips itself while it is collected fails as well."""
    code, output = sub_run.run('import pytest\npytest.skip("nah", allow_module_level=True)\n')
    assert code != 0 and "without naming a missing feature" in output, output


def test_evidence_is_left_for_every_test(sub_run: SubRun) -> None:
    """Each test has a folder with repro.sh, which carries the overrides, and its hosts' logs."""
    body = WITNESS.format(marker="", log="console", line="famlab: ready")
    sub_run.run(body, HOSTS="2,4")
    [folder] = [
        path
        for path in (sub_run.results / "latest").iterdir()
        if path.name.endswith("test_that_causes_it")
    ]
    repro = folder / "repro.sh"
    assert os.access(repro, os.X_OK)
    assert "export HOSTS=2,4" in repro.read_text()
    assert "test_sub.py::test_that_causes_it" in repro.read_text()
    assert "famlab: ready" in (folder / "host7.console.log").read_text()


BLOCKS = """
    import os, socket, subprocess, sys
    from support.paths import run_directory

    def test_blocks():
        (run_directory() / "mnt").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", run_directory() / "mnt"], check=True)
        subprocess.Popen(["sleep", "600"], start_new_session=True)
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(run_directory() / "sock"))
        with open("{fifo}", "w") as file:
            file.write("ready")
        sys.stdin = open("{fifo}")  # blocks for ever: nobody writes again
"""


@pytest.mark.timeout(40)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_nothing(sub_run: SubRun, number: signal.Signals) -> None:
    """tests/run interrupted in the middle of a test removes mounts, processes, sockets, files."""
    fifo = sub_run.directory / "fifo"
    os.mkfifo(fifo)
    path = sub_run.write(BLOCKS.format(fifo=fifo))
    environment = sub_run.environment()
    run = subprocess.Popen(
        [str(paths.TESTS / "run"), "host", str(path)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with fifo.open() as reader:
        assert reader.read() == "ready"
    [directory] = sub_run.directory.glob("ft-*")
    assert leaks.mounts_below(directory) and leaks.processes_of(directory.name, directory)
    run.send_signal(number)
    output, _ = run.communicate(timeout=30)
    assert run.returncode == 130, output.decode()
    assert not leaks.snapshot(directory.name, directory), output.decode()
    assert not directory.exists()


@pytest.mark.timeout(40)
def test_run_killed_outright_still_tears_down(sub_run: SubRun) -> None:
    """Even if tests/run is killed with SIGKILL, pytest notices and unwinds its fixtures."""
    fifo = sub_run.directory / "fifo"
    os.mkfifo(fifo)
    path = sub_run.write(
        f"""
        import pytest

        @pytest.fixture
        def undone():
            yield
            open("{sub_run.directory}/undone", "w").close()

        def test_blocks(undone):
            with open("{fifo}", "w") as file:
                file.write("ready")
            open("{fifo}")
        """
    )
    run = subprocess.Popen(
        [str(paths.TESTS / "run"), "host", str(path)],
        env=sub_run.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with fifo.open() as reader:
        assert reader.read() == "ready"
    [directory] = sub_run.directory.glob("ft-*")
    [pytest_process] = [
        p for p in leaks.processes_of(directory.name, directory) if "-m pytest" in p.command
    ]
    descriptor = os.pidfd_open(pytest_process.pid)
    run.kill()
    run.communicate()
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    assert poller.poll(20_000)
    os.close(descriptor)
    assert (sub_run.directory / "undone").exists()
    leaks.sweep(directory.name, directory)


def test_no_tests_is_a_failure(sub_run: SubRun) -> None:
    """A selection that selects nothing is not a success."""
    done = subprocess.run(
        [
            str(paths.TESTS / "run"),
            "host",
            str(sub_run.write("def test_x():\n    pass\n")),
            "-k",
            "nothing_of_that_name",
        ],
        env=sub_run.environment(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 5, done.stdout.decode()
