# SPDX-License-Identifier: Apache-2.0
"""Contract: with every method, that of the daemon too, a program finds in a file what it or another
host wrote, and system calls do what they do with any file of fixed size.
"""

from __future__ import annotations

import pytest
from vm.cluster import Cluster
from vm.fio import verify
from vm.mapping import ODD_SIZE, Probe, make, on_both_kinds
from vm.shapes import Shape

pytestmark = [pytest.mark.shapes(dax=("fsdev_dax",)), pytest.mark.timeout(900)]


@on_both_kinds
def test_system_calls(served: Cluster, probes: list[Probe], shape: Shape, kind: str) -> None:
    """What each verb of the probe says, on the master and on a client."""
    make(served.master, "file", ODD_SIZE, kind)
    for verb in ("refused", "vectors", "copies", "bad-buffers"):
        for probe in probes[:2]:
            probe.run(verb, served.master.path("file"))


@on_both_kinds
def test_fio_verifies_what_it_wrote(served: Cluster, shape: Shape, kind: str) -> None:
    """By write(2): in blocks that are no multiple of anything, and with O_DIRECT."""
    verify(served, "odd", kind, "--ioengine=psync", "--bs=7k")
    verify(served, "direct", kind, "--ioengine=psync", "--direct=1", "--bs=64k")


@on_both_kinds
def test_fio_verifies_what_it_stored(mapped: Cluster, shape: Shape, kind: str) -> None:
    """Through a mapping."""
    verify(mapped, "file", kind, "--ioengine=mmap", "--bs=4k")
