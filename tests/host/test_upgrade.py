# SPDX-License-Identifier: Apache-2.0
"""Contract: on SIGUSR2 the daemon becomes the program that is installed now, under the same mount:
what applications have open, and what the kernel and the daemon know, stays; a program that cannot
take over is not taken.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from famfs_verbs import MEBI, Famfs, random_bytes, sha256
from host.cluster import Cluster
from support import leaks, paths

GOES_ON = "goes on with"


@pytest.fixture
def backend() -> str:
    return "plain"  # what maps the memory is mapped anew


@pytest.fixture
def installed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The programs, in a directory in which they may be replaced."""
    path = directory / "bin"
    shutil.copytree(paths.BINARIES, path, symlinks=True)
    monkeypatch.setattr(paths, "BINARIES", path)
    yield path


class Daemon:
    """The daemon of a host, to be replaced."""

    def __init__(self, cluster: Cluster, host: Famfs, installed: Path) -> None:
        self.machine = cluster.machine(host)
        self.host = host
        self.program = installed / "famfsd"
        self.pid = self.machine.daemon_pid()

    def install(self, content: bytes, mode: int = 0o755) -> None:
        """As a package manager does: another file of the same name."""
        fresh = self.program.with_name("fresh")
        fresh.write_bytes(content)
        fresh.chmod(mode)
        fresh.rename(self.program)

    def log(self) -> str:
        directory = Path(os.getxattr(self.host.mount_point, "user.famfs.shadow").decode())
        return (directory / "famfsd.log").read_text()

    def ask_for_upgrade(self, said: str) -> None:
        """Until the log of whoever serves says so."""
        before = self.log()
        os.kill(self.pid, signal.SIGUSR2)
        end = time.monotonic() + 60
        while said not in self.log() or self.log() == before:
            assert time.monotonic() < end, self.log()
            time.sleep(0.02)

    def upgrade(self) -> None:
        self.install(self.program.read_bytes())
        inode = self.program.stat().st_ino
        self.ask_for_upgrade(GOES_ON)
        assert self.machine.daemon_pid() == self.pid
        assert Path(f"/proc/{self.pid}/exe").stat().st_ino == inode


@pytest.fixture
def daemon(installed: Path, cluster: Cluster) -> Daemon:
    return Daemon(cluster, cluster.master, installed)


def test_what_is_open_stays(daemon: Daemon, client: Famfs) -> None:
    """Descriptors, locks, a working directory, modes and times, and the way to new files."""
    master = daemon.host
    content = random_bytes(3 * MEBI, seed=1)
    master.put("file", content)
    master.mkdir("directory")
    file = Path(master.path("file"))
    file.chmod(0o604)
    os.utime(file, (1, 2))
    before = file.stat()
    with file.open("r+b") as opened, file.open("rb") as other:
        fcntl.flock(opened, fcntl.LOCK_EX)
        directory = os.open(master.path("directory"), os.O_DIRECTORY)
        for _ in range(2):
            daemon.upgrade()
            assert os.pread(opened.fileno(), len(content), 0) == content
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.pwrite(opened.fileno(), b"after", 0)
        assert os.listdir(directory) == []
        os.close(directory)
    after = file.stat()
    for name in ("st_ino", "st_mode", "st_uid", "st_size", "st_atime", "st_ctime"):
        assert getattr(after, name) == getattr(before, name), name
    os.utime(file, (3, 4))
    master.creat("directory/new", 4096)
    assert client.sha256() == {
        "file": sha256(b"after" + content[5:]), "directory/new": sha256(bytes(4096)),
    }  # fmt: skip
    master.fsck()


def test_nobody_notices(daemon: Daemon, client: Famfs) -> None:
    """Files are made, read and listed all the time, over several upgrades, without an error."""
    master = daemon.host
    content = random_bytes(MEBI, seed=2)
    master.put("file", content)
    ends = threading.Event()
    done = [0, 0, 0]  # rounds of each reader, directories made

    def read(reader: int) -> None:
        while not ends.is_set():
            assert Path(master.path("file")).read_bytes() == content
            with pytest.raises(FileNotFoundError):
                os.stat(master.path(f"d{done[2]}-missing"))
            done[reader] += 1

    def make() -> None:
        while not ends.is_set():
            os.mkdir(master.path(f"d{done[2]}"))
            done[2] += 1

    with ThreadPoolExecutor() as pool:
        users = [pool.submit(read, 0), pool.submit(read, 1), pool.submit(make)]
        try:
            for _ in range(5):
                had = list(done)
                daemon.upgrade()
                while any(now == before for now, before in zip(done, had)):
                    assert not any(user.done() for user in users)
                    time.sleep(0.01)
        finally:
            ends.set()
            for user in users:
                user.result()  # raises what ended it
    client.famfs("logplay", client.mount_point)
    assert len(client.tree()) == done[2] + 1
    master.fsck()


def test_the_master_stays_the_only_one(daemon: Daemon, cluster: Cluster) -> None:
    """The lock is held by the program that goes on."""
    daemon.upgrade()
    second = cluster.add("second")
    for name in ("system_uuid",):
        shutil.copy(
            cluster.machine(cluster.master).directory / name,
            cluster.machine(second).directory / name,
        )
    refused = second.mount(check=False)
    assert refused.returncode == errno.EBUSY and "mounted" in refused.text


@pytest.mark.parametrize("ends_by", ["umount", "SIGTERM"])
def test_it_ends_as_ever(daemon: Daemon, ends_by: str) -> None:
    """Unmounted, or told to end: nothing is left of mount or daemon."""
    daemon.upgrade()
    directory = Path(os.getxattr(daemon.host.mount_point, "user.famfs.shadow").decode())
    if ends_by == "umount":
        daemon.host.umount()
    else:
        os.kill(daemon.pid, signal.SIGTERM)
        end = time.monotonic() + 60
        while Path(f"/proc/{daemon.pid}").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        daemon.host.mounted = False
    # Not ismount(): that is false for the mount of a dead daemon.
    assert not leaks.mounts_below(Path(daemon.host.mount_point))
    assert not directory.exists()


@pytest.mark.expects_daemon_errors("not handed over")
@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (b"#!/bin/sh\nexit 3\n", 0o755, "does not take over"),
        (b"rubbish", 0o755, "cannot be run"),
        (b"#!/bin/sh\n", 0o644, "cannot be run"),
    ],
)
def test_what_cannot_take_over_is_not_taken(
    daemon: Daemon, client: Famfs, content: bytes, mode: int, reason: str
) -> None:
    """The program that serves says why and goes on; the next one that can is taken."""
    good = daemon.program.read_bytes()
    daemon.install(content, mode)
    daemon.ask_for_upgrade(reason)
    daemon.host.mkdir("made-by-the-old-one")
    daemon.install(good)
    daemon.upgrade()
    daemon.host.mkdir("made-by-the-new-one")
    assert sorted(client.tree()) == ["made-by-the-new-one", "made-by-the-old-one"]


def test_status_tells_of_it(daemon: Daemon) -> None:
    """The diagnostics work as before."""
    daemon.upgrade()
    assert json.loads(daemon.machine.control("/status"))["pid"] == daemon.pid
