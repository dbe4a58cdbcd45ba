# SPDX-License-Identifier: Apache-2.0
"""Contract: no offset is cut to 32 bits: files of more than 4 GiB are as good as small ones."""

from __future__ import annotations

import pytest
from famfs_verbs import MEBI
from vm.cluster import Cluster
from vm.mapping import KINDS, Probe, make
from vm.shapes import Shape

GIBI = 1 << 30
SIZE = 4 * GIBI + 64 * MEBI + 123


# The topology whose devices make one region of 8 GiB.
@pytest.mark.shapes(dax=("fsdev_dax",), topologies=("interleave-2",), only=True)
@pytest.mark.own_mount
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_file_of_more_than_4_gib(
    mapped: Cluster, probes: list[Probe], shape: Shape, kind: str
) -> None:
    """Start, end and what lies across 4 GiB, between hosts; a model there; bytes far apart."""
    make(mapped.master, "file", SIZE, kind)
    path = mapped.master.path("file")
    for offset in (0, 4 * GIBI - 50_000, SIZE - 100_000):
        probes[0].run("store", path, offset, 100_000, 1)
    for offset in (0, 4 * GIBI - 50_000, SIZE - 100_000):
        probes[1].run("load", path, offset, 100_000, 1)
    for number, probe in enumerate(probes[:2]):
        probe.run("model", path, number, 20, 4 * GIBI - 3 * MEBI, 6 * MEBI)
        probe.run("sparse", path, number)
        probe.run("ends", path)
