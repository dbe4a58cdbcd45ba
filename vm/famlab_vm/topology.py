# SPDX-License-Identifier: Apache-2.0
"""What the guests of a lab see as shared memory: devices, bridges and windows, as pure data.

The format of the files is documented in vm/README.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from famlab_vm.document import Node, read_document
from famlab_vm.errors import TopologyError, UsageError
from famlab_vm.units import format_size, parse_size

# CXL capacity (windows, HDM decoders, volatile capacity of a device) comes in units of 256 MiB.
CAPACITY_UNIT = 256 << 20
MAXIMUM_SIZE = 1 << 40
MAXIMUM_DEVICES = 8
MAXIMUM_CPUS = 16
# The interleave granularities that the CXL specification defines, in bytes.
GRANULARITIES = (256, 512, 1024, 2048, 4096, 8192, 16384)
# QEMU interleaves a window over these numbers of host bridges.
WAYS = (1, 2, 4, 8)

_NAME = re.compile(r"[a-z][a-z0-9-]{0,15}")
_SIZE_ALLOWED = (
    f"a size such as 4G, a multiple of {format_size(CAPACITY_UNIT)}, "
    f"at most {format_size(MAXIMUM_SIZE)}"
)


@dataclass(frozen=True)
class Device:
    """A memory device that all guests share; `size` in bytes, `kind` cxl or nvdimm."""

    name: str
    size: int
    kind: str = "cxl"


@dataclass(frozen=True)
class Port:
    """A root port of a host bridge: one device, or a switch with devices below it."""

    devices: tuple[str, ...]
    switch: bool


@dataclass(frozen=True)
class Bridge:
    """A CXL host bridge with its root ports."""

    name: str
    ports: tuple[Port, ...]


@dataclass(frozen=True)
class Window:
    """A fixed memory window: `size` bytes of host physical address space, interleaved over the
    bridges in `targets` every `granularity` bytes."""

    size: int
    targets: tuple[str, ...]
    granularity: int


@dataclass(frozen=True)
class Topology:
    """One valid topology. `memory` is each guest's private RAM in bytes."""

    name: str
    description: str
    fabric: str
    memory: int
    cpus: int
    devices: tuple[Device, ...]
    bridges: tuple[Bridge, ...]
    windows: tuple[Window, ...]

    @property
    def shared_size(self) -> int:
        """Bytes of shared memory over all devices."""
        return sum(device.size for device in self.devices)

    def with_cpus(self, cpus: int) -> Topology:
        """Return this topology with guests of `cpus` virtual CPUs. Raises UsageError."""
        if not 1 <= cpus <= MAXIMUM_CPUS:
            raise UsageError(f"cpus: found {cpus}; allowed: 1 to {MAXIMUM_CPUS}")
        return replace(self, cpus=cpus)

    @classmethod
    def load(cls, name_or_file: str | Path) -> Topology:
        """Read a topology of vm/topologies by name, or any file by path (a name with / or .yaml).

        Raises TopologyError with file, key, what was found and what is allowed.
        """
        path = _resolve(name_or_file)
        return parse_topology(read_document(path), path.stem)


def topology_directory() -> Path:
    """The folder of the topologies that come with famlab."""
    return Path(__file__).resolve().parents[1] / "topologies"


def topology_names() -> list[str]:
    """Names of the topologies that come with famlab, sorted."""
    return sorted(path.stem for path in topology_directory().glob("*.yaml"))


def _resolve(name_or_file: str | Path) -> Path:
    text = str(name_or_file)
    if "/" in text or text.endswith((".yaml", ".yml")):
        return Path(text)
    names = topology_names()
    if text not in names:
        raise TopologyError(
            f"topology: found {text!r}; allowed: {', '.join(names)}, or the path of a file"
        )
    return topology_directory() / f"{text}.yaml"


def parse_topology(document: Node, name: str) -> Topology:
    """Validate a document that was read from a file. Raises TopologyError."""
    keys = ("description", "fabric", "guest", "devices", "bridges", "windows")
    top = document.mapping(keys, required=("description", "fabric", "devices"))
    fabric = top["fabric"].choice(("cxl", "pmem"))
    guest = top["guest"].mapping(("memory", "cpus")) if "guest" in top else {}
    memory = guest["memory"].parsed(_guest_memory, "128M to 64G") if "memory" in guest else 1 << 30
    cpus = guest["cpus"].integer(1, MAXIMUM_CPUS) if "cpus" in guest else 1
    devices = _devices(top["devices"], fabric)
    bridges: tuple[Bridge, ...] = ()
    windows: tuple[Window, ...] = ()
    if fabric == "cxl":
        for key in ("bridges", "windows"):
            if key not in top:
                document.child(key, None).fail("a value; fabric cxl requires it", found="nothing")
        below_bridges = tuple(device for device in devices if device.kind == "cxl")
        bridges = _bridges(top["bridges"], below_bridges)
        windows = _windows(top["windows"], bridges, below_bridges)
    else:
        for key in ("bridges", "windows"):
            if key in top:
                top[key].fail("nothing; fabric pmem has devices only")
    return Topology(
        name, top["description"].text().strip(), fabric, memory, cpus, devices, bridges, windows
    )


def _guest_memory(value: object) -> int:
    size = parse_size(value)
    if not 128 << 20 <= size <= 64 << 30 or size % (1 << 20):
        raise ValueError
    return size


def _capacity(value: object) -> int:
    size = parse_size(value)
    if not 0 < size <= MAXIMUM_SIZE or size % CAPACITY_UNIT:
        raise ValueError
    return size


def _name(node: Node, name: str) -> str:
    if not _NAME.fullmatch(name):
        node.fail("a name of a-z, 0-9 and -, at most 16 characters", found=name)
    return name


def _devices(node: Node, fabric: str) -> tuple[Device, ...]:
    entries = node.any_mapping()
    if not 1 <= len(entries) <= MAXIMUM_DEVICES:
        node.fail(f"1 to {MAXIMUM_DEVICES} devices", found=f"{len(entries)} devices")
    devices = []
    for name, entry in entries.items():
        keys = entry.mapping(("size", "kind"), required=("size",))
        kind = "nvdimm" if fabric == "pmem" else "cxl"
        if "kind" in keys:
            kind = keys["kind"].choice(("nvdimm",) if fabric == "pmem" else ("cxl", "nvdimm"))
        size = keys["size"].parsed(_capacity, _SIZE_ALLOWED)
        devices.append(Device(_name(entry, name), size, kind))
    return tuple(devices)


def _bridges(node: Node, devices: tuple[Device, ...]) -> tuple[Bridge, ...]:
    free = {device.name for device in devices}

    def take(item: Node) -> str:
        name = item.text()
        if name not in free:
            item.fail(f"a device that no other port has: {', '.join(sorted(free)) or 'none left'}")
        free.remove(name)
        return name

    bridges = []
    for name, entry in node.any_mapping().items():
        ports = []
        for port in entry.sequence():
            keys = port.mapping(("device", "switch"))
            if len(keys) != 1:
                port.fail("exactly one of device and switch")
            if "device" in keys:
                ports.append(Port((take(keys["device"]),), switch=False))
            else:
                below = tuple(take(item) for item in keys["switch"].sequence())
                if not below:
                    keys["switch"].fail("a list of at least one device")
                ports.append(Port(below, switch=True))
        if not ports:
            entry.fail("a list of at least one port")
        bridges.append(Bridge(_name(entry, name), tuple(ports)))
    if free:
        node.fail(f"a place for every device; {', '.join(sorted(free))} has none")
    return tuple(bridges)


def _windows(
    node: Node, bridges: tuple[Bridge, ...], devices: tuple[Device, ...]
) -> tuple[Window, ...]:
    names = [bridge.name for bridge in bridges]
    windows = []
    for entry in node.sequence():
        keys = entry.mapping(("targets", "size", "granularity"), required=("targets", "size"))
        targets = tuple(item.choice(names) for item in keys["targets"].sequence())
        if len(targets) not in WAYS or len(set(targets)) != len(targets):
            keys["targets"].fail("1, 2, 4 or 8 different bridges")
        size = keys["size"].parsed(_capacity, _SIZE_ALLOWED)
        if size % (CAPACITY_UNIT * len(targets)):
            unit = format_size(CAPACITY_UNIT * len(targets))
            keys["size"].fail(f"a multiple of {unit} ({len(targets)} targets)")
        granularity = GRANULARITIES[0]
        if "granularity" in keys:
            granularity = keys["granularity"].integer(GRANULARITIES[0], GRANULARITIES[-1])
            if granularity not in GRANULARITIES:
                keys["granularity"].fail("one of " + ", ".join(map(str, GRANULARITIES)))
        windows.append(Window(size, targets, granularity))
    if not 1 <= len(windows) <= MAXIMUM_DEVICES:
        node.fail(f"1 to {MAXIMUM_DEVICES} windows", found=f"{len(windows)} windows")
    _check_capacity(node, tuple(windows), bridges, devices)
    _check_regions(node, tuple(windows), bridges, devices)
    return tuple(windows)


def _check_capacity(
    node: Node, windows: tuple[Window, ...], bridges: tuple[Bridge, ...],
    devices: tuple[Device, ...],
) -> None:
    """Every device has to be reachable through a window, and fit into what the windows offer."""
    sizes = {device.name: device.size for device in devices}
    for bridge in bridges:
        if not any(bridge.name in window.targets for window in windows):
            node.fail("a window for every bridge", found=f"none that has {bridge.name} as a target")
        below = sum(sizes[name] for port in bridge.ports for name in port.devices)
        share = sum(w.size // len(w.targets) for w in windows if bridge.name in w.targets)
        if below > share:
            node.fail(
                f"windows that offer {bridge.name} at least the {format_size(below)} "
                "of the devices below it",
                found=format_size(share),
            )


def _check_regions(
    node: Node, windows: tuple[Window, ...], bridges: tuple[Bridge, ...],
    devices: tuple[Device, ...],
) -> None:
    """Each window has to hold the regions that guests make in it (images/guest/cxl.sh): of the
    first device below each target, then of the second below each, and so on."""
    sizes = {device.name: device.size for device in devices}
    left = {
        bridge.name: [
            device.name for device in devices
            if any(device.name in port.devices for port in bridge.ports)
        ]
        for bridge in bridges
    }
    for number, window in enumerate(windows):
        entry = Node(node.file, f"{node.key}[{number}]", None)
        used = 0
        while all(left[name] for name in window.targets):
            members = [left[name].pop(0) for name in window.targets]
            if len({sizes[name] for name in members}) > 1:
                found = ", ".join(f"{name} of {format_size(sizes[name])}" for name in members)
                entry.fail("devices of the same size in an interleaved region", found=found)
            used += sum(sizes[name] for name in members)
        if not used:
            entry.fail("a window with a device of its own below each target", found="none left")
        if used > window.size:
            entry.fail(
                f"a size of at least {format_size(used)}, for the regions that guests make in it",
                found=format_size(window.size),
            )
