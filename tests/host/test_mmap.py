# SPDX-License-Identifier: Apache-2.0
"""Contract: the daemon-served mapping method never gives a mapping that other hosts' writes would
bypass: a shared writable mapping is refused with ENODEV, and mount and log say why.
"""

from __future__ import annotations

import errno
import mmap
import os

import pytest
from famfs_verbs import Famfs
from host.cluster import Cluster


def test_shared_writable_mapping_is_refused(master: Famfs, client: Famfs) -> None:
    """mmap(MAP_SHARED, PROT_WRITE) answers ENODEV on both hosts."""
    master.put("file", bytes(8192))
    for host in (master, client):
        descriptor = os.open(host.path("file"), os.O_RDWR)
        try:
            with pytest.raises(OSError) as caught:
                mmap.mmap(descriptor, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            assert caught.value.errno == errno.ENODEV
        finally:
            os.close(descriptor)


def test_mount_names_the_mapping_method_and_the_log_the_reason(cluster: Cluster) -> None:
    """`famfs mount` says that the daemon serves the data; its log says why there is no mmap."""
    client, machine = cluster.client, cluster.machine(cluster.client)
    client.umount()
    said = client.mount().text
    assert "daemon" in said
    [log] = machine.run_directory.glob("*/famfsd.log")
    assert "mmap" in log.read_text()
