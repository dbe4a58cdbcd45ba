# SPDX-License-Identifier: Apache-2.0
"""Contract: hosts whose clocks differ by a year share files all the same: nothing that one does for
another hangs on what time it is.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from famfs_verbs import random_bytes, sha256
from vm.cluster import Cluster
from vm.labs import LabKeeper, TestLab
from vm.mapping import of_its_own
from vm.shapes import Shape

YEAR = 365 * 24 * 3600
CONTENT = random_bytes(100_001, 1)


@pytest.fixture(scope="module")
def apart(keeper: LabKeeper) -> Iterator[TestLab]:
    """Three hosts: one a year ahead of the master, one a year behind."""
    offsets = {"host1": YEAR, "host2": -YEAR}
    with keeper.apart(Shape(hosts=3), clock_offsets=offsets) as lab:
        yield lab


@pytest.fixture
def hosts(apart: TestLab) -> Iterator[Cluster]:
    with of_its_own(apart, "") as cluster:
        yield cluster


def test_clocks_differ(apart: TestLab) -> None:
    """The guests do have the clocks that were asked for."""
    times = [int(host.run(["date", "+%s"]).stdout) for host in apart.hosts]
    assert abs(times[1] - times[0] - YEAR) < 120
    assert abs(times[2] - times[0] + YEAR) < 120


def test_files_are_the_same(hosts: Cluster) -> None:
    """A new file is there at once with the same bytes, also when everybody mounts anew. The media
    keeps no times, so each host shows its own: when it learned of the file."""
    hosts.require_following()
    for number in range(3):
        hosts.master.put(f"file{number}", CONTENT)
        for famfs in hosts.clients:
            assert famfs.sha256(f"file{number}") == {f"file{number}": sha256(CONTENT)}
    for famfs in hosts.all:
        shown = famfs.run("stat", "-c", "%Y", famfs.path("file0")).stdout
        assert abs(int(famfs.run("date", "+%s").stdout) - int(shown)) < 120
        famfs.umount()
        famfs.mount()
        assert set(famfs.sha256().values()) == {sha256(CONTENT)}
        famfs.fsck()


@pytest.mark.expects_daemon_errors("formatted anew")
def test_a_new_file_system_is_noticed(hosts: Cluster) -> None:
    """mkfs by a host whose clock is behind is seen by the others: it is no older file system."""
    behind = hosts.all[2]
    for famfs in hosts.all:
        famfs.umount()
    behind.mkfs()
    for famfs in hosts.all:
        famfs.mount()
    behind.put("new", CONTENT)
    for famfs in hosts.all:
        assert famfs.sha256() == {"new": sha256(CONTENT)}
