# SPDX-License-Identifier: Apache-2.0
"""Contract: a master that was away while another host took over (made the file system anew, or
became master of it) learns that when it is back: it is not obeyed, says why, and does no harm.

It is away in three ways: its machine is suspended; it is cut off from the memory (its daemon stands
still, while its programs go on: hosts of a lab have nothing else between them that could be cut);
it has lost its power.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from famfs_verbs import Famfs, random_bytes
from support import programs
from vm.cluster import UUID_FILE, Cluster
from vm.running import STALE, Holding, Running, creating, made, told_that_it_is_another
from vm.shapes import Shape

pytestmark = [
    pytest.mark.shapes(hosts=(3,), fewest=3, dax=("device_dax", "fsdev_dax")),
    pytest.mark.timeout(300),
    pytest.mark.own_mount,
]

CONTENT = random_bytes(200_001, 1)
Away = Callable[[Cluster, Famfs], None]


def suspend(cluster: Cluster, famfs: Famfs) -> None:
    cluster.host(famfs).pause()


def wake(cluster: Cluster, famfs: Famfs) -> None:
    cluster.host(famfs).resume()


def cut_off(cluster: Cluster, famfs: Famfs) -> None:
    famfs.run("pkill", "--signal", "STOP", "--exact", programs.daemon())


def reconnect(cluster: Cluster, famfs: Famfs) -> None:
    famfs.run("pkill", "--signal", "CONT", "--exact", programs.daemon())


WAYS: dict[str, tuple[Away, Away]] = {
    "suspended": (suspend, wake),
    "cut off": (cut_off, reconnect),
}


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def away(cluster: Cluster, famfs: Famfs, way: str) -> Iterator[None]:
    """Within the block a host is away; it always returns, as a lab must not keep such a one."""
    go, come_back = WAYS[way]
    go(cluster, famfs)
    try:
        yield
    finally:
        come_back(cluster, famfs)


@contextmanager
def identity_of(other: Famfs, famfs: Famfs) -> Iterator[None]:
    """Within the block a host has the identity of another: who has it is master."""
    own = famfs.run("cat", UUID_FILE).stdout
    taken = other.run("cat", UUID_FILE).stdout
    famfs.run("sh", "-c", f"cat >{UUID_FILE}", input=taken)
    try:
        yield
    finally:
        famfs.run("sh", "-c", f"cat >{UUID_FILE}", input=own)


def make_anew(cluster: Cluster, host: Famfs, others: list[Famfs]) -> dict[str, bytes]:
    """Another file system, of another master, in the places of the old files; its contents."""
    for famfs in (host, *others):
        famfs.umount()
    host.mkfs()
    for famfs in (host, *others):
        famfs.mount()
    contents = {name: random_bytes(200_001, seed) for seed, name in enumerate(("x", "y", "z"))}
    for name, content in contents.items():
        host.put(name, content)
    return contents


def check_new(hosts: list[Famfs], contents: dict[str, bytes]) -> None:
    for famfs in hosts:
        assert sorted(famfs.tree()) == sorted(contents)
        for name, content in contents.items():
            assert famfs.read(name) == content
        famfs.fsck()


def refused_as_client(famfs: Famfs) -> None:
    refused = famfs.creat("no", 4096, check=False)
    assert 0 < refused.returncode < 128 and "master" in refused.text


@pytest.mark.expects_daemon_errors("formatted anew")
def test_away_while_another_host_makes_the_file_system_anew(
    cluster: Cluster, shape: Shape, way: str
) -> None:
    """Back, its creates and its open files answer ESTALE and nothing of the new file system is
    touched; mounted again it is a client."""
    old, new, third = cluster.all[:3]
    old.put("file", CONTENT)
    with Holding(cluster.host(old), old, "file") as held:
        with creating(cluster.host(old), old, "old-") as loop:
            loop.wait_for("made", 3)
            with away(cluster, old, way):
                contents = make_anew(cluster, new, [third])
            assert told_that_it_is_another(loop), str(loop)
        assert held.use() == STALE
    check_new([new, third], contents)
    old.umount()
    old.mount()
    refused_as_client(old)
    check_new(cluster.all[:3], contents)


def test_no_power_while_another_host_makes_the_file_system_anew(
    cluster: Cluster, shape: Shape
) -> None:
    """Booted, the old master is a client of what is there now."""
    old, new, third = cluster.all[:3]
    with creating(cluster.host(old), old, "old-") as loop:
        loop.wait_for("made", 3)
        cluster.host(old).kill()
        loop.end()
    contents = make_anew(cluster, new, [third])
    cluster.restart(old)
    refused_as_client(old)
    check_new(cluster.all[:3], contents)


def check_all(cluster: Cluster, names: set[str]) -> None:
    """Every host has the same files, these among them, whole."""
    trees = [sorted(famfs.tree().items()) for famfs in cluster.all]
    for famfs, tree in zip(cluster.all, trees):
        assert names <= {name for name, _ in tree}, famfs.name
        assert [(name, entry.size) for name, entry in tree] == [
            (name, entry.size) for name, entry in trees[0]
        ]
        assert famfs.sha256() == cluster.all[0].sha256()
        famfs.fsck()


def takes_over(new: Famfs) -> set[str]:
    """Mounts as master, and makes files."""
    new.umount()
    new.mount()
    for name in ("new-0", "new-1"):
        new.put(name, CONTENT)
    return {"new-0", "new-1"}


@pytest.mark.expects_daemon_errors("another host is master")
def test_away_while_another_host_becomes_master(
    cluster: Cluster, shape: Shape, way: str
) -> None:
    """Back, its next create is refused with the reason; what either was told it has made is on all
    hosts. Mounted again it is master, and now the other is refused."""
    old, new = cluster.all[:2]
    old.put("file", CONTENT)
    with identity_of(old, new):
        loop: Running
        with creating(cluster.host(old), old, "old-") as loop:
            loop.wait_for("made", 3)
            with away(cluster, old, way):
                names = takes_over(new)
            assert loop.end() is not None and "has another master" in loop.text, str(loop)
        names |= made(loop, "old-")
        assert new.put("new-2", CONTENT, check=False).returncode == 0
        check_all(cluster, names | {"file", "new-2"})
        old.umount()
        old.mount()
        old.put("back", CONTENT)
        refused = new.put("new-3", CONTENT, check=False)
        assert refused.returncode != 0 and "has another master" in refused.text
        check_all(cluster, names | {"file", "new-2", "back"})
        new.umount()
    new.mount()
    refused_as_client(new)


@pytest.mark.expects_daemon_errors("another host is master")
def test_no_power_while_another_host_becomes_master(cluster: Cluster, shape: Shape) -> None:
    """Booted and mounted, the old master has all that was made meanwhile; once it has made a file
    the one that stood in for it is refused."""
    old, new = cluster.all[:2]
    with identity_of(old, new):
        with creating(cluster.host(old), old, "old-") as loop:
            loop.wait_for("made", 3)
            cluster.host(old).kill()
            loop.end()
        names = takes_over(new) | made(loop, "old-")
        cluster.restart(old)
        check_all(cluster, names)
        old.put("back", CONTENT)
        refused = new.put("new-3", CONTENT, check=False)
        assert refused.returncode != 0 and "has another master" in refused.text
        check_all(cluster, names | {"back"})
        new.umount()
    new.mount()
