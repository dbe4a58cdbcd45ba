# SPDX-License-Identifier: Apache-2.0
"""Contract: one host is the master, the one whose identity the superblock names, and only one
daemon of it at a time; whoever cannot tell who it is, is a client.
"""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest
from famfs_verbs import Famfs
from host.cluster import Cluster
from support import media


def identity(cluster: Cluster, host: Famfs) -> Path:
    return cluster.machine(host).directory / "system_uuid"


def announce(memory: Path, entries: int) -> None:
    with media.medium(memory) as medium:
        medium.set_header("next_seqnum", entries)
        medium.set_header("next_index", entries)


@pytest.mark.expects_daemon_errors("next_index")
def test_second_master_is_refused_before_it_touches_the_log(cluster: Cluster, memory: Path) -> None:
    """A mount with the identity of a mounted master is refused, and does not announce what that
    master may be about to announce itself.
    """
    cluster.master.mkdir("d")
    second = cluster.add("second")
    shutil.copy(identity(cluster, cluster.master), identity(cluster, second))
    announce(memory, 0)
    refused = second.mount(check=False)
    assert refused.returncode == errno.EBUSY
    assert "mounted" in refused.text
    with media.medium(memory) as medium:
        assert medium.entry_count() == 0
    announce(memory, 1)
    cluster.master.mkdir("e")
    assert sorted(cluster.client.tree()) == ["d", "e"]


@pytest.mark.expects_daemon_errors("another host is master")
def test_second_master_elsewhere_is_detected(cluster: Cluster, memory: Path) -> None:
    """Entries that the master did not write are of another one: it follows them, appends nothing
    behind them, says why, and does again when it was mounted anew.
    """
    cluster.master.mkdir("d")
    with media.medium(memory) as medium:
        medium.append_directory(1, "of-the-other")
    announce(memory, 2)
    refused = cluster.master.mkdir("e", check=False)
    assert refused.returncode == errno.EROFS
    assert "another master" in refused.text and "1 log entries" in refused.text
    status = json.loads(cluster.machine(cluster.master).control("/status"))
    assert "did not write" in status["other_master"]
    for host in cluster.hosts:
        assert sorted(host.tree()) == ["d", "of-the-other"]
    cluster.master.umount()
    cluster.master.mount()
    cluster.master.mkdir("e")
    assert cluster.client.exists("e")
    cluster.master.fsck()


def test_host_that_cannot_tell_who_it_is_is_a_client(hosts: Cluster) -> None:
    """Garbage in the identity's file: mount and fsck work, as a client, and say why."""
    hosts.master.mkfs()
    identity(hosts, hosts.master).unlink()
    identity(hosts, hosts.master).write_text("garbage\n")
    checked = hosts.master.fsck()
    mounted = hosts.master.mount()
    for outcome in (checked, mounted):
        assert "client" in outcome.text and "system_uuid" in outcome.text
    refused = hosts.master.creat("file", 4096, check=False)
    assert refused.returncode == errno.EROFS and "master" in refused.text


def test_only_mkfs_makes_an_identity(hosts: Cluster) -> None:
    """A host that only mounts and checks has none, and needs none."""
    hosts.master.mkfs()
    assert identity(hosts, hosts.master).exists()
    assert "client" in hosts.client.fsck().text
    assert "client" in hosts.client.mount().text
    assert not identity(hosts, hosts.client).exists()
