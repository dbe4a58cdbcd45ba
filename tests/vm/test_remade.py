# SPDX-License-Identifier: Apache-2.0
"""Contract: when one host makes the file system anew under hosts that use it, their programs get
ESTALE, the reason is logged, what they did harms nothing, and mounted again they have the new one.
"""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from famfs_verbs import Famfs, random_bytes
from support import programs
from support.evidence import observer
from support.skips import missing_feature
from vm.cluster import Cluster
from vm.running import STALE, Holding, creating, reading, told_that_it_is_another
from vm.shapes import Shape

pytestmark = pytest.mark.own_mount

LOG = "cat /run/famfs/*/famfsd.log"
REASON = "formatted anew"


def put_all(famfs: Famfs, seeds: range) -> dict[str, bytes]:
    contents = {f"new-{seed}": random_bytes(200_001, seed) for seed in seeds}
    for name, content in contents.items():
        famfs.put(name, content)
    return contents


@pytest.mark.timeout(300)
@pytest.mark.expects_daemon_errors(REASON)
@pytest.mark.shapes(hosts=(3,), fewest=3, dax=("device_dax", "fsdev_dax"))
def test_mkfs_under_hosts_that_create_read_and_hold_files(cluster: Cluster, shape: Shape) -> None:
    """A master that creates, a client that reads, and both hold a file open."""
    old, client, new = cluster.all[:3]
    used = [old, client]
    old.put("held", random_bytes(200_001, 100))
    old.put("read", random_bytes(200_001, 101))
    with ExitStack() as stack:
        held = [stack.enter_context(Holding(cluster.host(host), host, "held")) for host in used]
        loops = [stack.enter_context(reading(cluster.host(host), host, "read")) for host in used]
        creates = stack.enter_context(creating(cluster.host(old), old, "old-"))
        creates.wait_for("made", 3)
        for loop in loops:
            loop.wait_for("read", 2)
        new.umount()
        new.mkfs()
        new.mount()
        contents = put_all(new, range(3))
        for loop in (creates, *loops):
            assert told_that_it_is_another(loop), str(loop)
        for holding in held:
            assert holding.use() == STALE
    contents |= put_all(new, range(3, 6))
    for host in used:
        observer.collect_from(host.machine)
        host.umount()
        host.mount()
    for host in (new, *used):
        assert sorted(host.tree()) == sorted(contents)
        for name, content in contents.items():
            assert host.read(name) == content
        host.fsck()
    refused = old.creat("no", 4096, check=False)
    assert 0 < refused.returncode < 128 and "master" in refused.text


@pytest.mark.expects_daemon_errors(REASON)
def test_the_reason_is_in_the_log(
    cluster: Cluster, master: Famfs, client: Famfs, shape: Shape
) -> None:
    """Of the daemon whose file system was made anew, without anybody who asks it."""
    if programs.FOREIGN and client.run("sh", "-c", LOG, check=False).returncode != 0:
        missing_feature("log of the daemon", "it has none in /run/famfs")
    master.umount()
    master.mkfs()
    for _ in range(100):
        if REASON in client.run("sh", "-c", LOG).text:
            break
        client.run("sleep", "0.1")
    else:
        raise AssertionError("no reason is logged")
