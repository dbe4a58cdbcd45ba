# SPDX-License-Identifier: Apache-2.0
"""Which labs a test runs on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

TOPOLOGIES = ("one-device", "two-bridges", "interleave-2", "switch", "pmem")
_DAX_MODES = ("device_dax", "fsdev_dax")


@dataclass(frozen=True, order=True)
class Shape:
    """The dimensions of a lab."""

    hosts: int = 2
    topology: str = "one-device"
    dax: str = "device_dax"
    cpus: int = 1

    def __str__(self) -> str:
        processors = f"-{self.cpus}cpus" if self.cpus > 1 else ""
        return f"{self.hosts}-{Path(self.topology).stem}-{self.dax}{processors}"

    def is_a_boot_from(self, other: Shape) -> bool:
        """Whether more than the driver of the devices differs."""
        return replace(self, dax=other.dax) != other


_IN_NODE_ID = re.compile(
    rf"\[(?:.*-)?(\d+-[^\[\]]+)-({'|'.join(_DAX_MODES)})(-\d+cpus)?(?:-.*)?\]$"
)


def lab_in(node_id: str) -> str:
    """The shape that the id of a test names, but for the driver; empty if it has none."""
    found = _IN_NODE_ID.search(node_id)
    return f"{found[1]}{found[3] or ''}" if found else ""


def driver_in(node_id: str) -> str:
    """The driver of its devices; empty if it has none."""
    found = _IN_NODE_ID.search(node_id)
    return found[2] if found else ""


def chosen(variable: str) -> list[str]:
    return [word for word in os.environ.get(variable, "").replace(",", " ").split() if word]


def shapes(
    *,
    hosts: Iterable[int] = (2,),
    topologies: Iterable[str] = ("one-device",),
    dax: Iterable[str] | None = None,
    cpus: Iterable[int] = (1,),
    fewest: int = 1,
    only: bool = False,
) -> list[Shape]:
    """The shapes a test runs on: its own, unless HOSTS, TOPOLOGY, DAX or CPUS choose others.

    `fewest` is how many hosts the test needs; `only` says that it is about just these topologies.
    A test that names modes of its devices is about them: DAX chooses among these.
    """
    hosts, topologies, cpus = list(hosts), list(topologies), list(cpus)
    modes = list(dax or ("device_dax",))
    if asked := chosen("DAX"):
        modes = [mode for mode in asked if dax is None or mode in modes]
    if asked := chosen("HOSTS"):
        hosts = [int(count) for count in asked if int(count) >= fewest]
    if asked := chosen("TOPOLOGY"):
        topologies = [name for name in asked if not only or name in topologies]
    if asked := chosen("CPUS"):
        cpus = [int(count) for count in asked]
    return [
        Shape(count, name, mode, processors)
        for name in topologies
        for mode in modes
        for processors in cpus
        for count in hosts
    ]
