# SPDX-License-Identifier: Apache-2.0
"""Contract of what a lab keeps on this machine: state, lock, shared memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from famlab_vm import memory
from famlab_vm.errors import LabStateError, PrerequisiteMissing, UsageError
from famlab_vm.lock import LabLock
from famlab_vm.memory import (
    create_memory,
    memory_directory,
    memory_files,
    outside_directories,
    remove_memory,
)
from famlab_vm.paths import check_host_name, check_lab_name
from famlab_vm.paths import run_directory as find_run_directory
from famlab_vm.separate import in_child
from famlab_vm.state import LabState, lab_names
from famlab_vm.topology import Topology
from lab_support import FAKE_LAB, a_state


def test_state_is_read_back(run_directory: Path) -> None:
    """Everything that is saved comes back equal."""
    state = a_state("mine")
    state.save()
    assert LabState.load("mine") == state
    assert lab_names() == ["mine"]
    assert state.directory.parent == run_directory


def test_unreadable_state(run_directory: Path) -> None:
    """A damaged file is reported with its path and the way out; a missing one as not up."""
    with pytest.raises(LabStateError, match="not up"):
        LabState.load("mine")
    a_state("mine").save()
    for damage in ("", "{", "[]", "{}", '{"version": 1}', '{"version": 99}', "\0"):
        (run_directory / "mine" / "state.json").write_text(damage)
        with pytest.raises(LabStateError, match="famlab down --name mine"):
            LabState.load("mine")


def test_unknown_host(run_directory: Path) -> None:
    """A host that the lab does not have is refused with those it has."""
    assert run_directory
    with pytest.raises(LabStateError, match="host0, host1"):
        a_state("mine").guest("host5")


@pytest.mark.parametrize("name", ["", "-x", "A", "a/b", "..", "a" * 25, "a b", "a\n", "ä"])
def test_lab_names(name: str) -> None:
    """Names that cannot be a directory and a domain are refused."""
    with pytest.raises(UsageError):
        check_lab_name(name)


@pytest.mark.parametrize("name", ["", "host", "host8", "host10", "Host0", "host0\n", "../x"])
def test_host_names(name: str) -> None:
    """Only host0 to host7 are hosts."""
    with pytest.raises(UsageError):
        check_host_name(name)


def test_run_directory_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path under which sockets could not be made is refused, with the limit."""
    monkeypatch.setenv("FAMLAB_RUN", "/tmp/" + "x" * 100)
    with pytest.raises(UsageError, match="FAMLAB_RUN to a shorter"):
        find_run_directory()


@pytest.mark.parametrize(
    ("user", "runtime", "expected"),
    [
        (0, "/run/user/0", "/run/famlab"),
        (1000, "/run/user/1000", "/run/user/1000/famlab"),
        (1000, "", "/tmp/famlab-1000"),
        (1000, "/run/user/0", "/tmp/famlab-1000"),
        (1234567890, "/run/user/1234567890", "/tmp/famlab-1234567890"),
    ],
)
def test_run_directory_of_a_login(
    monkeypatch: pytest.MonkeyPatch, user: int, runtime: str, expected: str
) -> None:
    """Whatever logind gives to a user, there is a directory that sockets fit below."""
    monkeypatch.delenv("FAMLAB_RUN", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "access", lambda path, _mode: path == f"/run/user/{user}")
    made: list[str] = []
    monkeypatch.setattr(Path, "mkdir", lambda path, **_: made.append(str(path)))
    private = os.stat_result((0o40700, 1, 1, 1, user, user, 0, 0, 0, 0))
    monkeypatch.setattr(Path, "lstat", lambda _path: private)
    assert (str(find_run_directory()), made) == (expected, [expected])


def test_run_directory_is_private(run_directory: Path) -> None:
    """The directory is made with mode 0700, and made so if it is not."""
    run_directory.mkdir(mode=0o755)
    assert find_run_directory().stat().st_mode & 0o777 == 0o700
    run_directory.rmdir()
    run_directory.symlink_to("/tmp")
    with pytest.raises(UsageError, match="not a directory of this user"):
        find_run_directory()


_HOLD = """
import sys
from pathlib import Path
from famlab_vm.lock import LabLock
LabLock(Path(sys.argv[1])).acquire(None)
print("held", flush=True)
sys.stdin.read()
"""


def test_lock(tmp_path: Path) -> None:
    """One holder at a time; the other is told who holds it, and gets it when that one dies."""
    path = tmp_path / "lock"
    source = str(Path(__file__).resolve().parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": source},
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(LabStateError, match=rf"pid {holder.pid}"):
            LabLock(path).acquire(None)
        told: list[str] = []

        def waiting(who: str) -> None:
            told.append(who)
            holder.kill()

        with LabLock(path) as lock:
            lock.acquire(waiting)
            assert lock.held
            assert f"pid {holder.pid}" in told[0]


def test_lock_of_a_removed_lab(tmp_path: Path) -> None:
    """Whoever waited while the lab was removed gets a lock on the new file, not on the old."""
    path = tmp_path / "lock"
    first = LabLock(path)
    first.acquire(None)

    def waiting(_who: str) -> None:
        path.unlink()
        first.release()

    with LabLock(path) as second:
        second.acquire(waiting)
        assert path.exists()
        with pytest.raises(LabStateError):
            LabLock(path).acquire(None)


def test_memory_in_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are sparse, zeroed and private; removal leaves nothing and may be repeated."""
    shared = tmp_path / "shm"
    lab = tmp_path / "lab"
    shared.mkdir()
    lab.mkdir()
    monkeypatch.setattr(memory, "SHARED_MEMORY", shared)
    topology = Topology.load("two-bridges")
    create_memory(topology, FAKE_LAB, lab)
    for path in memory_files(topology, lab).values():
        assert path.resolve().parent.parent == shared
        assert path.stat().st_size == 4 << 30
        assert path.stat().st_blocks == 0
        assert path.stat().st_mode & 0o777 == 0o600
    assert memory_directory(lab) == shared / f"famlab-{FAKE_LAB}"
    remove_memory(lab)
    remove_memory(lab)
    assert list(shared.iterdir()) == []
    assert list(lab.iterdir()) == []


@pytest.mark.parametrize("place", ["lab", "disk"])
def test_memory_elsewhere_if_shared_memory_is_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Then the lab's own file system is used, or else a disk; without room there, refused."""
    places = {name: tmp_path / name for name in ("shm", "lab", "disk")}
    for path in places.values():
        path.mkdir()
    monkeypatch.setattr(memory, "SHARED_MEMORY", places["shm"])
    monkeypatch.setattr(memory, "ON_DISK", places["disk"])
    roomy = places[place]
    monkeypatch.setattr(memory, "free_bytes", lambda path: 1 << 40 if path == roomy else 0)
    topology = Topology.load("one-device")
    lab = places["lab"]
    create_memory(topology, FAKE_LAB, lab)
    outside = memory_directory(lab)
    assert outside == (None if place == "lab" else roomy / f"famlab-{FAKE_LAB}")
    assert outside is None or outside in outside_directories(FAKE_LAB)
    assert (lab / "memory" / "mem0").stat().st_size == 4 << 30
    remove_memory(lab)
    monkeypatch.setattr(memory, "free_bytes", lambda _path: 1 << 20)
    with pytest.raises(PrerequisiteMissing, match="needs 4G"):
        create_memory(topology, FAKE_LAB, lab)
    assert not any(list(path.iterdir()) for path in places.values())


def test_only_own_memory_is_removed(tmp_path: Path) -> None:
    """A link that leads elsewhere is removed itself, never what it leads to."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / "memory").symlink_to(precious)
    remove_memory(tmp_path)
    assert precious.is_dir()
    assert not (tmp_path / "memory").is_symlink()


def test_in_child() -> None:
    """Values and exceptions come back from the child; the work was done there."""
    assert in_child(os.getpid) != os.getpid()

    def fail() -> int:
        raise LabStateError("no")

    with pytest.raises(LabStateError, match="no"):
        in_child(fail)
    with pytest.raises(ChildProcessError):
        in_child(lambda: os.kill(os.getpid(), signal.SIGKILL))
