# SPDX-License-Identifier: Apache-2.0
"""Contract: what a run has made itself is found and removed, and nothing else, whatever the guests
of its labs have put into the directory that they may write to.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from famlab_vm.memory import SHARED_MEMORY
from support import leaks
from support.leaks import Leak

MARKER = "ft-of-a-test"
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def run(directory: Path) -> Path:
    """The directory of a run that has a lab of one host."""
    run = directory / "run"
    (run / "l" / "t1" / "host0" / "exchange").mkdir(parents=True)
    return run


@pytest.fixture
def exchange(run: Path) -> Path:
    """What the guest may write to."""
    return run / "l" / "t1" / "host0" / "exchange"


@pytest.fixture
def memory() -> Iterator[Path]:
    """A lab's memory where labs put it."""
    path = SHARED_MEMORY / f"famlab-{uuid.uuid4()}"
    path.mkdir()
    (path / "mem0").touch()
    yield path
    (path / "mem0").unlink(missing_ok=True)
    if path.exists():
        path.rmdir()


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a shell that waits, with these words after its name."""
    children = []

    def start(*words: str | Path, **environment: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            ["sh", "-c", "echo; read forever", *words],
            env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        children.append(child)
        assert child.stdout is not None
        child.stdout.readline()  # now the words are its own
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("worker", [(), ("gw0",)])
def test_memory_of_a_lab_is_found_and_removed(
    directory: Path, memory: Path, worker: tuple[str, ...]
) -> None:
    """It is the run's, also when only the link to it has been removed."""
    lab = directory.joinpath("run", *worker, "l", "t1")
    lab.mkdir(parents=True)
    (lab / "memory").symlink_to(memory)
    leak = Leak("file", str(memory))
    assert leak in leaks.snapshot(MARKER, directory / "run")
    (lab / "memory").unlink()
    assert leak in leaks.snapshot(MARKER, directory / "run")
    assert leak in leaks.sweep(MARKER, directory / "run")
    assert not memory.exists()
    assert not (directory / "run").exists()


@pytest.mark.parametrize("place", ["memory", "l/t1/memory", "l/t1/host0/exchange/memory"])
def test_link_of_a_guest_is_no_memory(
    run: Path, exchange: Path, memory: Path, place: str
) -> None:
    """A link to another lab's memory, wherever the guest puts it, gives that to nobody."""
    link = exchange / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(memory)
    assert str(memory) not in {leak.what for leak in leaks.snapshot(MARKER, run)}
    leaks.sweep(MARKER, run)
    assert (memory / "mem0").exists()


@pytest.mark.parametrize("target", ["{memory}/../../..{victim}", "{victim}"])
def test_link_of_a_lab_leads_to_memory_or_nowhere(
    run: Path, directory: Path, memory: Path, target: str
) -> None:
    """Nothing is removed but a directory of a lab's name right where labs put their memory."""
    victim = directory / "victim"
    victim.mkdir()
    link = run / "l" / "t1" / "memory"
    link.symlink_to(target.format(memory=memory, victim=victim))
    leaks.sweep(MARKER, run)
    assert victim.is_dir() and (memory / "mem0").exists()
    assert not run.exists()


def test_links_are_not_followed(run: Path, directory: Path, exchange: Path) -> None:
    """Neither to tell what is left nor to remove it."""
    victim = directory / "victim"
    victim.mkdir()
    (victim / "file").touch()
    (exchange / "link").symlink_to(victim)
    found = {leak.what for leak in leaks.snapshot(MARKER, run)}
    assert str(exchange / "link") in found and str(exchange / "link/file") not in found
    leaks.sweep(MARKER, run)
    assert (victim / "file").exists()
    assert not run.exists()


def test_no_depth_is_too_deep(run: Path, exchange: Path) -> None:
    """More levels than this process may have descriptors or stack frames."""
    where = os.open(exchange, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=where)
        below = os.open("d", os.O_RDONLY, dir_fd=where)
        os.close(where)
        where = below
    os.close(where)
    assert leaks.snapshot(MARKER, run)
    leaks.sweep(MARKER, run)
    assert not run.exists()


def test_only_the_run_s_own_processes_are_killed(run: Path, start: Start) -> None:
    """Not one that has a file of the run on its command line: somebody looks at it."""
    log = run / "l" / "t1" / "host0" / "console.log"
    reader = start("tail", "-f", log, FAMLAB_TEST_RUN="another")
    debugger = start("gdb", "-ex", f"target remote {run}/l/t1/host0/gdb.sock")
    marked = start("daemon", FAMLAB_TEST_RUN=MARKER)
    of_worker = start("daemon", FAMLAB_TEST_RUN=f"{MARKER}.gw0")
    guest = start("qemu", "-gdb", f"unix:{run}/l/t1/host0/gdb.sock,server=on,wait=off")
    asked = start("qemu", "-qmp", f"unix:{run}/l/t1/v/lib/qemu/qmp-X/qmp.monitor,server=on")
    own = {child.pid for child in (marked, of_worker, guest, asked)}
    assert {process.pid for process in leaks.processes_of(MARKER, run)} == own
    leaks.sweep(MARKER, run)
    assert all(child.wait(10) < 0 for child in (marked, of_worker, guest, asked))
    assert reader.poll() is None and debugger.poll() is None


def test_dead_server_below_a_guest_s_directory_is_not_asked(run: Path, exchange: Path) -> None:
    """Neither the mount nor a link that leads into it is looked at: it would block for ever."""
    fuse = os.open("/dev/fuse", os.O_RDWR)
    mount = run / "mnt"
    mount.mkdir()
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0"
    subprocess.run(
        ["mount", "-i", "-t", "fuse", "-o", options, "nobody", mount], pass_fds=[fuse], check=True
    )
    (exchange / "link").symlink_to(mount / "directory")
    child = os.fork()  # which can be killed if it does not come back
    if child == 0:
        os.close(fuse)
        leaks.snapshot(MARKER, run)
        os._exit(0)
    descriptor = os.pidfd_open(child)
    try:
        ended = select.select([descriptor], [], [], 20)[0]
    finally:
        os.close(descriptor)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(fuse)  # ends what waits for an answer
        leaks.sweep(MARKER, run)
    assert ended, "it waits for the dead server"
    assert not run.exists()
