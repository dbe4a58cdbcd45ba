# SPDX-License-Identifier: Apache-2.0
"""Contract: what one host makes, every host that shares the memory has, byte for byte, with mode
and owner, for every number of hosts and every topology.
"""

from __future__ import annotations

import pytest
from famfs_verbs import ALLOCATION_UNIT, MEBI, Entry, Famfs, on_client, random_bytes, sha256
from famlab_vm.machine import DaxDevice
from vm.cluster import Cluster
from vm.labs import TestLab
from vm.shapes import TOPOLOGIES, Shape

INTERLEAVED = ("--nstrips", "3", "--nbuckets", "4", "--chunksize", "2M")

everywhere = pytest.mark.shapes(topologies=TOPOLOGIES)
any_number_of_hosts = pytest.mark.shapes(hosts=(1, 2, 4, 8))
two_or_more = pytest.mark.shapes(hosts=(2, 4), fewest=2)


def make_one_of_each(master: Famfs) -> dict[str, str]:
    """A file of each kind on the master; returns their digests."""
    contents = {
        "byte": random_bytes(1, 1),
        "unit": random_bytes(ALLOCATION_UNIT, 2),
        "odd": random_bytes(MEBI + 4097, 3),
        "d/deep/file": random_bytes(70_001, 4),
    }
    master.mkdir("d/deep", "-p")
    for name, content in contents.items():
        master.put(name, content)
    striped = random_bytes(5 * MEBI + 123, 5)
    master.put("striped", striped, *INTERLEAVED)
    return {name: sha256(content) for name, content in {**contents, "striped": striped}.items()}


@everywhere
def test_every_topology_shares_every_kind_of_file(cluster: Cluster, shape: Shape) -> None:
    """Contiguous, interleaved, tiny and deep files read the same on every host."""
    digests = make_one_of_each(cluster.master)
    for host in cluster.all:
        assert host.sha256() == digests
    cluster.master.fsck()


@any_number_of_hosts
def test_every_number_of_hosts_shares_every_kind_of_file(cluster: Cluster, shape: Shape) -> None:
    """One host, two, four and eight: all read the same bytes; clients show the master's tree."""
    digests = make_one_of_each(cluster.master)
    tree = cluster.master.tree()
    for host in cluster.all:
        assert host.sha256() == digests
        assert host.tree() == (tree if host is cluster.master else on_client(tree))


@two_or_more
def test_modes_owners_and_directories_are_equal(cluster: Cluster, shape: Shape) -> None:
    """Permission bits, owners, sizes and directories, but for permission to write, are equal."""
    cluster.master.mkdir("a", "--mode", "0750")
    cluster.master.mkdir("a/b", "--mode", "0711", "--uid", "1001", "--gid", "1002")
    cluster.master.creat("a/b/f", 4096, "--mode", "0600", "--uid", "1001", "--gid", "1002")
    expected = {
        "a": Entry("d", 0o750, 0, 0, 0),
        "a/b": Entry("d", 0o711, 1001, 1002, 0),
        "a/b/f": Entry("f", 0o600, 1001, 1002, 4096),
    }
    for host in cluster.all:
        assert host.tree() == (expected if host is cluster.master else on_client(expected))


@two_or_more
def test_write_of_a_client_is_seen_by_all(cluster: Cluster, shape: Shape) -> None:
    """Each client patches an existing file and flushes; every host then reads all patches."""
    content = bytearray(random_bytes(2 * MEBI + 500, 1))
    cluster.master.put("file", bytes(content))
    for number, host in enumerate(cluster.clients):
        patch = random_bytes(5001, 10 + number)
        offset = number * 65_536 + 4090
        host.overwrite("file", offset, patch)
        content[offset : offset + len(patch)] = patch
    for host in cluster.all:
        assert host.sha256("file") == {"file": sha256(bytes(content))}


def test_new_files_appear_by_themselves(
    cluster: Cluster, master: Famfs, client: Famfs, shape: Shape
) -> None:
    """A name looked up in vain, and a directory listed before, show the new file at once."""
    cluster.require_following()
    master.mkdir("d")
    assert not client.exists("d/file")
    assert sorted(client.tree()) == ["d"]
    master.creat("d/file", 3 * MEBI, "--randomize", "--seed", "9")
    assert sorted(client.tree()) == ["d", "d/file"]
    client.famfs("verify", "--seed", "9", "--filename", client.path("d/file"))


def test_client_may_not_create(master: Famfs, client: Famfs, shape: Shape) -> None:
    """creat, cp and mkdir on a client are refused with the reason; the master sees nothing."""
    for refused in (
        client.creat("file", 4096, check=False),
        client.put("file", b"x", check=False),
        client.mkdir("d", check=False),
    ):
        assert 0 < refused.returncode < 128
        assert "master" in refused.text
    assert master.tree() == {}


@pytest.mark.shapes(topologies=("two-bridges",), only=True)
def test_both_devices_hold_a_file_system(
    lab: TestLab, devices: list[DaxDevice], shape: Shape
) -> None:
    """Two bridges give two devices: a famfs on each, mounted side by side, independent."""
    assert len(devices) == 2
    clusters = [
        Cluster(lab, device.path, f"/mnt/famfs{device.index}").make_and_mount()
        for device in devices
    ]
    try:
        for number, cluster in enumerate(clusters):
            cluster.master.put("file", random_bytes(MEBI, number))
        for number, cluster in enumerate(clusters):
            assert cluster.clients[0].sha256() == {"file": sha256(random_bytes(MEBI, number))}
    finally:
        for cluster in clusters:
            cluster.umount_all()
