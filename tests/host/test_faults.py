# SPDX-License-Identifier: Apache-2.0
"""Contract: a host that dies at any moment harms nobody else, leaves a sound file system, and can
come back.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal

import pytest
from famfs_verbs import UMOUNT_FAILED, Famfs, random_bytes
from host.cluster import Cluster
from support.machine import LocalHost, stop_group

CREATE_FOR_EVER = (
    "i=0; while famfs creat --size 4096 --randomize --seed 7 $1/$i; do echo $i; i=$((i+1)); done"
)


def kill_daemon(machine: LocalHost, number: int = signal.SIGKILL) -> None:
    """A signal, and back only when the process is gone (a pidfd says so)."""
    pid = machine.daemon_pid()
    descriptor = os.pidfd_open(pid)
    os.kill(pid, number)
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    assert poller.poll(10_000), f"famfsd {pid} survives signal {number}"
    os.close(descriptor)


def kill_master_while_it_creates(cluster: Cluster, files: int) -> set[str]:
    """Kills the master's daemon in a loop of creat; returns the files that were reported made."""
    machine = cluster.machine(cluster.master)
    loop = machine.start(["sh", "-c", CREATE_FOR_EVER, "sh", cluster.master.path()])
    assert loop.stdout is not None
    made = set()
    try:
        for line in loop.stdout:
            if line.strip().isdigit():
                made.add(line.decode().strip())
            if len(made) == files:
                kill_daemon(machine)
                break
    finally:
        rest, _ = loop.communicate(timeout=30)
        stop_group(loop)
    made |= {line.decode() for line in rest.splitlines() if line.isdigit()}
    return made


def test_master_killed_while_it_creates_files(cluster: Cluster) -> None:
    """The client goes on with every file that was reported made, fsck is clean on both sides, and
    the master comes back as master.
    """
    made = kill_master_while_it_creates(cluster, files=8)
    assert made <= set(cluster.client.tree())
    cluster.client.fsck()
    name = max(made, key=int)
    cluster.client.famfs("verify", "--seed", "7", "--filename", cluster.client.path(name))
    cluster.master.umount()
    cluster.master.mount()
    cluster.master.fsck()
    cluster.master.put("after", random_bytes(5000, seed=1))
    assert cluster.client.read("after") == random_bytes(5000, seed=1)
    assert made | {"after"} <= set(cluster.client.tree())


def test_client_killed_and_back(cluster: Cluster) -> None:
    """A killed client does not disturb the master and sees what was made in between when back."""
    content = random_bytes(100_000, seed=4)
    cluster.master.put("before", content)
    assert cluster.client.read("before") == content
    kill_daemon(cluster.machine(cluster.client))
    cluster.master.put("meanwhile", content)
    cluster.master.fsck()
    cluster.client.umount()
    cluster.client.mount()
    assert cluster.client.read("before") == cluster.client.read("meanwhile") == content


def test_flushed_write_survives_the_death_of_its_writer(cluster: Cluster) -> None:
    """What a client wrote and flushed is in the shared memory, whatever becomes of the client."""
    cluster.master.put("file", bytes(10_000))
    cluster.client.overwrite("file", 5000, b"survives")
    kill_daemon(cluster.machine(cluster.client))
    assert cluster.master.read("file", 5000, 8) == b"survives"
    cluster.client.umount()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_daemon_and_detaches_the_mount(cluster: Cluster, number: int) -> None:
    """Also while a file is open: mount, socket and run directory are gone, what was written stays,
    and the open file answers ENOTCONN."""
    cluster.master.put("file", bytes(5000))
    machine = cluster.machine(cluster.client)
    descriptor = os.open(cluster.client.path("file"), os.O_RDWR)
    try:
        os.pwrite(descriptor, b"before", 0)
        kill_daemon(machine, number)
        with pytest.raises(OSError) as caught:
            os.pread(descriptor, 1, 0)
        assert caught.value.errno == errno.ENOTCONN
    finally:
        with contextlib.suppress(OSError):  # its flush finds nobody; it is closed all the same
            os.close(descriptor)
    assert not machine.mount_point.is_mount()
    assert not list(machine.run_directory.iterdir())
    assert cluster.master.read("file", 0, 6) == b"before"
    cluster.client.mount()
    assert cluster.client.read("file", 0, 6) == b"before"


def test_umount_of_the_system_leaves_nothing(cluster: Cluster) -> None:
    """umount(8) is enough: the daemon ends by itself. A busy mount is refused and goes on."""
    machine = cluster.machine(cluster.client)
    daemon = os.pidfd_open(machine.daemon_pid())
    mount = cluster.client.mount_point
    user = os.open(mount, os.O_RDONLY)
    assert cluster.client.run("umount", mount, check=False).returncode == UMOUNT_FAILED
    assert cluster.client.famfs("umount", mount, check=False).returncode == errno.EBUSY
    os.close(user)
    assert cluster.client.tree() == {}
    cluster.client.run("umount", mount)
    poller = select.poll()
    poller.register(daemon, select.POLLIN)
    assert poller.poll(10_000), "famfsd goes on without its mount"
    os.close(daemon)
    assert not list(machine.run_directory.iterdir())


def test_mount_over_a_dead_mount_replaces_it(cluster: Cluster) -> None:
    """Mounting where a dead daemon's mount still hangs removes that first, and says so."""
    cluster.master.put("file", b"content")
    kill_daemon(cluster.machine(cluster.client))
    said = cluster.client.mount().text
    assert "died" in said and cluster.client.mount_point in said
    assert cluster.client.read("file") == b"content"


def test_mistakes_of_users_are_not_in_the_log(cluster: Cluster) -> None:
    """What any user can get wrong as often as he likes leaves no line: it could fill the disk."""
    client = cluster.client
    [log] = cluster.machine(client).run_directory.glob("*/famfsd.log")
    before = log.read_text()
    libc = ctypes.CDLL(None, use_errno=True)
    room = ctypes.create_string_buffer(4)
    path = client.mount_point.encode()
    assert libc.getxattr(path, b"user.famfs.shadow", room, 4) == -1
    assert ctypes.get_errno() == errno.ERANGE
    assert libc.listxattr(path, room, 4) == -1
    assert ctypes.get_errno() == errno.ERANGE
    assert client.creat("file", 4096, check=False).returncode == errno.EROFS
    assert not client.exists("missing")
    assert log.read_text() == before


def test_fsck_by_device_is_refused_while_mounted(cluster: Cluster, master: Famfs) -> None:
    """`famfs fsck DEV` of a mounted file system is busy; by mount point it works."""
    refused = master.famfs("fsck", master.device, check=False)
    assert refused.returncode == 1
    assert "mounted" in refused.text or "busy" in refused.text
    master.fsck()
