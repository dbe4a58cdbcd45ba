# SPDX-License-Identifier: Apache-2.0
"""Contract: a host or a daemon that dies at any moment harms no other host, leaves a sound file
system behind, and can come back.
"""

from __future__ import annotations

import pytest
from famfs_verbs import Famfs, random_bytes
from support import programs
from vm.cluster import Cluster
from vm.running import creating
from vm.shapes import Shape

pytestmark = pytest.mark.own_mount

# Returns as soon as file $2 is in the directory $1. The memory of another host raises no event.
WAIT_FOR_FILE = 'while ! [ -e "$1/$2" ]; do sleep 0.02; done'


def kill_while_it_creates(cluster: Cluster, onlooker: Famfs, files: int) -> None:
    """Kills host0 in a loop of creat once `onlooker` sees that many files."""
    cluster.require_following()
    host0 = cluster.host(cluster.master)
    with creating(host0, cluster.master, "") as loop:
        onlooker.run("sh", "-c", WAIT_FOR_FILE, "sh", onlooker.path(), str(files))
        host0.kill()
        loop.end()


@pytest.mark.shapes(hosts=(2, 4), fewest=2)
def test_master_loses_power_while_it_creates_files(cluster: Cluster, shape: Shape) -> None:
    """The others go on and check clean; host0 boots, mounts as master and creates again."""
    content = random_bytes(100_000, 1)
    cluster.master.put("before", content)
    onlooker = cluster.clients[0]
    kill_while_it_creates(cluster, onlooker, files=5)
    trees = [host.tree() for host in cluster.clients]
    assert {"before", *"01234"} <= set(trees[0])
    assert all(tree == trees[0] for tree in trees)
    for host in cluster.clients:
        assert host.read("before") == content
        host.fsck()
    master = cluster.master
    cluster.restart(master)
    assert set(trees[0]) <= set(master.tree())
    master.fsck()
    master.put("after", content)
    for host in cluster.clients:
        assert host.read("after") == content


def test_client_loses_power_and_returns(
    cluster: Cluster, master: Famfs, client: Famfs, shape: Shape
) -> None:
    """A dead client does not disturb the master; back, it has what was made in between."""
    content = random_bytes(50_000, 2)
    master.put("before", content)
    client.overwrite("before", 0, content[:100])
    cluster.host(client).kill()
    master.put("meanwhile", content)
    master.fsck()
    cluster.restart(client)
    assert client.read("before") == client.read("meanwhile") == content


def test_unflushed_host_crash_keeps_others_sound(
    cluster: Cluster, master: Famfs, client: Famfs, shape: Shape
) -> None:
    """A client that dies right after an unflushed write leaves complete files of full size."""
    master.put("file", bytes(20_000))
    client.overwrite("file", 0, b"x" * 10_000, flush=False)
    cluster.host(client).kill()
    assert len(master.read("file")) == 20_000
    master.fsck()
    cluster.lab.restart(cluster.host(client))


@pytest.mark.parametrize("role", ["master", "client"])
def test_daemon_killed_and_back(cluster: Cluster, shape: Shape, role: str) -> None:
    """kill -9 of a daemon: the other host goes on; after umount and mount all is there."""
    content = random_bytes(60_000, 3)
    cluster.master.put("file", content)
    victim, other = cluster.all[:2] if role == "master" else cluster.all[1::-1]
    victim.run("pkill", "--signal", "KILL", "--exact", programs.daemon())
    assert other.read("file") == content
    other.fsck()
    victim.umount()
    victim.mount()
    assert victim.read("file") == content
    cluster.master.put("new", content)
    assert cluster.clients[0].read("new") == content


@pytest.mark.expects_daemon_errors("formatted anew")
def test_mkfs_under_a_mounted_client_is_noticed(
    cluster: Cluster, master: Famfs, client: Famfs, shape: Shape
) -> None:
    """The client's old mount answers ESTALE for everything; a remount shows the new file system."""
    master.put("old", random_bytes(5000, 1))
    assert client.exists("old")
    master.umount()
    master.mkfs()
    master.mount()
    master.put("new", random_bytes(5000, 2))
    for words in (["ls", client.path()], ["cat", client.path("old")], ["cat", client.path("new")]):
        stale = client.run(*words, check=False)
        assert stale.returncode != 0 and "Stale file handle" in stale.text
    client.umount()
    client.mount()
    assert sorted(client.tree()) == ["new"]
    assert client.read("new") == random_bytes(5000, 2)
