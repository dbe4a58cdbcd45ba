# SPDX-License-Identifier: Apache-2.0
"""Contract: mkfs writes exactly the format, refuses what it must not touch, and a file system made
anew under a mounted host is noticed and never mixed up with the old one.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from famfs_verbs import MEBI, MKFS_REFUSED, MKFS_USAGE, random_bytes
from host.cluster import DEVICE_SIZE, Cluster
from support import media


def test_format_is_the_one_of_the_reference(hosts: Cluster, memory: Path) -> None:
    """A fresh file system has version 48, right checksums, and the geometry of the format."""
    hosts.master.mkfs()
    with media.medium(memory) as medium:
        assert medium.superblock("magic") == media.SUPERBLOCK_MAGIC
        assert medium.superblock("version") == 48
        assert (medium.superblock("omf_major"), medium.superblock("omf_minor")) == (2, 2)
        assert medium.superblock("log_offset") == media.LOG_OFFSET
        assert medium.superblock("log_len") == media.DEFAULT_LOG_LENGTH
        assert medium.superblock("alloc_unit") == media.ALLOCATION_UNIT
        assert medium.superblock("device_size") == DEVICE_SIZE
        assert medium.header("magic") == media.LOG_MAGIC
        assert medium.header("last_index") == 15419
        assert (medium.header("next_index"), medium.header("next_seqnum")) == (0, 0)
        assert medium.checksums_match()
    identity = (hosts.machine(hosts.master).directory / "system_uuid").read_text().strip("\0\n")
    with media.medium(memory) as medium:
        assert str(medium.uuid("system_uuid")) == identity


def test_entries_are_the_format_of_the_reference(cluster: Cluster, memory: Path) -> None:
    """What the master appends decodes, by an independent decoder, to what was asked for."""
    cluster.master.mkdir("d", "--mode", "0750")
    cluster.master.creat("d/file", 3 * MEBI, "--mode", "0640")
    with media.medium(memory) as medium:
        assert medium.entry_count() == 2
        assert medium.header("next_seqnum") == 2
        assert (medium.entry(0, "type"), medium.entry(1, "type")) == (media.MKDIR, media.FILE)
        assert medium.entry(0, "mkdir.mode") == 0o750
        assert medium.entry(1, "seqnum") == 1
        assert medium.entry(1, "size") == 3 * MEBI
        assert medium.entry(1, "flags") == 2
        assert medium.entry(1, "mode") == 0o640
        assert medium.entry(1, "path") == b"d/file".ljust(80, b"\0")
        assert (medium.entry(1, "ext_type"), medium.entry(1, "nextents")) == (media.SIMPLE, 1)
        assert medium.entry(1, "extent.len") == 4 * MEBI
        offset = medium.entry(1, "extent.offset")
        assert isinstance(offset, int)
        assert offset >= media.LOG_OFFSET + media.DEFAULT_LOG_LENGTH
        assert offset % media.ALLOCATION_UNIT == 0
        assert medium.checksums_match()


def test_log_length_can_be_chosen(hosts: Cluster, memory: Path) -> None:
    """`--loglen 16m` doubles the entries; a length that is no power of two is refused."""
    hosts.master.mkfs("--loglen", "16m")
    with media.medium(memory) as medium:
        assert medium.header("last_index") == 30839
    refused = hosts.master.mkfs("--loglen", "12m", check=False)
    assert refused.returncode == MKFS_USAGE
    assert "12" in refused.text


def test_existing_file_system_is_not_overwritten_without_force(
    hosts: Cluster, memory: Path
) -> None:
    """mkfs on a device that holds a famfs wants --force, and touches nothing without."""
    hosts.master.mkfs()
    with media.medium(memory) as medium:
        before = medium.uuid("fs_uuid")
    refused = hosts.master.run("mkfs.famfs", str(memory), check=False)
    assert refused.returncode == MKFS_REFUSED
    assert "force" in refused.text
    with media.medium(memory) as medium:
        assert medium.uuid("fs_uuid") == before


def test_what_a_master_has_mounted_is_left_alone(hosts: Cluster, memory: Path) -> None:
    """Neither --force nor --kill takes a file system from the master on the same machine."""
    master = hosts.master
    master.mkfs()
    master.mount()
    for words in (("--force",), ("--kill", "--force")):
        refused = master.run("mkfs.famfs", *words, str(memory), check=False)
        assert refused.returncode == MKFS_REFUSED
        assert "mounted" in refused.text
    master.put("still-there", b"bytes")


def test_kill_wants_force(hosts: Cluster, memory: Path) -> None:
    """`mkfs.famfs --kill` alone says what is missing and removes nothing."""
    hosts.master.mkfs()
    refused = hosts.master.run("mkfs.famfs", "--kill", str(memory), check=False)
    assert refused.returncode == MKFS_USAGE
    assert "force" in refused.text
    hosts.client.mount()


def test_kill_removes_the_superblock(hosts: Cluster) -> None:
    """`mkfs.famfs --kill --force` makes the device one that no longer mounts."""
    hosts.master.mkfs()
    hosts.master.mkfs("--kill")
    refused = hosts.client.mount(check=False)
    assert refused.returncode == errno.ENODATA
    assert "magic" in refused.text


def test_small_device_is_refused(hosts: Cluster, memory: Path) -> None:
    """Less than 4 GiB is refused; the message says how much was found and how much is wanted."""
    os.truncate(memory, DEVICE_SIZE - media.ALLOCATION_UNIT)
    refused = hosts.master.mkfs(check=False)
    assert refused.returncode == MKFS_USAGE
    assert str(DEVICE_SIZE - media.ALLOCATION_UNIT) in refused.text
    assert str(DEVICE_SIZE) in refused.text


def wait_for_stale(path: str) -> None:
    """The kernel's own memory of a path goes when the daemon's notice has reached it, soon."""
    for _ in range(200):
        try:
            os.stat(path)
        except OSError as error:
            assert error.errno == errno.ESTALE
            return
        time.sleep(0.05)
    pytest.fail(f"{path} is still shown 10 s after its file system went")


def close_stale(descriptor: int) -> None:
    """close(2) of a file whose file system went may say so; the descriptor is closed anyway."""
    try:
        os.close(descriptor)
    except OSError as error:
        assert error.errno == errno.ESTALE


@pytest.mark.expects_daemon_errors("formatted anew")
def test_new_file_system_under_a_mounted_client_is_noticed(cluster: Cluster) -> None:
    """After mkfs by the master every operation of the client says ESTALE; it never shows the new
    file system through the old mount, and a remount is all it takes.
    """
    master, client = cluster.master, cluster.client
    master.put("old", random_bytes(MEBI, seed=1))
    descriptor = os.open(client.path("old"), os.O_RDONLY)
    try:
        master.umount()
        master.mkfs()
        master.mount()
        master.put("new", random_bytes(MEBI, seed=2))
        attempts: list[Callable[[], object]] = [
            lambda: os.stat(client.path("new")),
            lambda: os.listdir(client.path()),
            lambda: os.open(client.path("old"), os.O_RDONLY),
            lambda: os.pread(descriptor, 10, 0),
        ]
        for attempt in attempts:
            with pytest.raises(OSError) as caught:
                attempt()
            assert caught.value.errno == errno.ESTALE
        wait_for_stale(client.path("old"))
    finally:
        close_stale(descriptor)
    client.umount()
    client.mount()
    assert client.read("new") == random_bytes(MEBI, seed=2)
    assert sorted(client.tree()) == ["new"]


@pytest.mark.expects_daemon_errors("formatted anew")
@pytest.mark.parametrize("access", ["read", "write"])
def test_open_file_of_a_file_system_made_anew_is_stale_at_once(
    cluster: Cluster, access: str
) -> None:
    """Not even the first read or write through a file that was open before mkfs succeeds."""
    master, client = cluster.master, cluster.client
    master.put("old", bytes(4096))
    descriptor = os.open(client.path("old"), os.O_RDWR)
    try:
        master.umount()
        master.mkfs()
        with pytest.raises(OSError) as caught:
            if access == "read":
                os.pread(descriptor, 10, 0)
            else:
                os.pwrite(descriptor, b"lost", 0)
        assert caught.value.errno == errno.ESTALE
    finally:
        close_stale(descriptor)


@pytest.mark.expects_daemon_errors("formatted anew")
def test_killed_file_system_under_a_mounted_client_is_noticed(cluster: Cluster) -> None:
    """`mkfs --kill` on one host ends the other's mount with ESTALE."""
    cluster.master.creat("file", 4096)
    assert cluster.client.exists("file")
    cluster.master.umount()
    cluster.master.mkfs("--kill")
    with pytest.raises(OSError) as caught:
        os.listdir(cluster.client.path())
    assert caught.value.errno == errno.ESTALE


def test_client_may_not_write_the_log(cluster: Cluster) -> None:
    """creat, cp and mkdir on a client are refused with the reason; nothing is appended."""
    for refused in (
        cluster.client.creat("file", 4096, check=False),
        cluster.client.put("file", b"x", check=False),
        cluster.client.mkdir("d", check=False),
    ):
        assert refused.returncode == errno.EROFS
        assert "master" in refused.text
    assert cluster.master.tree() == {}
