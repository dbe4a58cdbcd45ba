# SPDX-License-Identifier: Apache-2.0
"""Contract: what holds with one processor holds with several that use the same file at once."""

from __future__ import annotations

import pytest
from vm.cluster import Cluster
from vm.fio import verify
from vm.labs import together
from vm.mapping import ODD_SIZE, Probe, make, on_both_kinds
from vm.shapes import Shape

pytestmark = [
    pytest.mark.shapes(dax=("fsdev_dax",), cpus=(2, 4)),
    pytest.mark.timeout(600),
]


@on_both_kinds
def test_processes_on_all_processors_share_a_mapping(
    mapped: Cluster, probes: list[Probe], shape: Shape, kind: str
) -> None:
    """Each stores and loads its own bytes of common pages, on both hosts side by side."""
    for number, probe in enumerate(probes[:2]):
        assert int(probe.host.run(["nproc"]).stdout) == shape.cpus
        make(mapped.master, f"file{number}", ODD_SIZE, kind)

    def use(number: int) -> None:
        probes[number].run("together", mapped.master.path(f"file{number}"), 2 * shape.cpus)

    together(use, range(2))


@on_both_kinds
def test_processes_on_all_processors_read_and_write(
    served: Cluster, shape: Shape, kind: str
) -> None:
    """fio with a process for each processor; every host verifies."""
    verify(served, "file", kind, "--ioengine=psync", "--bs=7k", jobs=shape.cpus)
