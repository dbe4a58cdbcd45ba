# SPDX-License-Identifier: Apache-2.0
"""Contract: a topology file is either valid, or refused with file, key, found and allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from famlab_vm.document import MAXIMUM_FILE_SIZE
from famlab_vm.errors import TopologyError, UsageError
from famlab_vm.topology import Topology, topology_names

GOOD = """
description: two devices
fabric: cxl
guest: {memory: 512M, cpus: 2}
devices: {mem0: {size: 1G}, mem1: {size: 1G}}
bridges:
  bridge0: [{device: mem0}]
  bridge1: [{switch: [mem1]}]
windows:
  - {targets: [bridge0, bridge1], size: 2G, granularity: 512}
"""


def load(tmp_path: Path, text: str) -> Topology:
    """Write `text` to a file and read it as a topology."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return Topology.load(path)


def test_reads_every_field(tmp_path: Path) -> None:
    """What the file says is what the topology holds, sizes in bytes."""
    topology = load(tmp_path, GOOD)
    assert topology.name == "mine"
    assert (topology.memory, topology.cpus) == (512 << 20, 2)
    assert [(device.name, device.size) for device in topology.devices] == [
        ("mem0", 1 << 30), ("mem1", 1 << 30),
    ]
    assert [port.switch for bridge in topology.bridges for port in bridge.ports] == [False, True]
    assert topology.windows[0].targets == ("bridge0", "bridge1")
    assert topology.windows[0].granularity == 512
    assert topology.shared_size == 2 << 30


@pytest.mark.parametrize("name", topology_names())
def test_shipped_topologies_are_valid(name: str) -> None:
    """Every topology that comes with famlab can be loaded by its name."""
    assert Topology.load(name).description


@pytest.mark.parametrize(
    ("old", "new", "key", "allowed"),
    [
        ("fabric: cxl", "fabric: cxi", "fabric", "cxl, pmem"),
        ("size: 1G}, mem1", "size: 3X}, mem1", "devices.mem0.size", "a multiple of 256M"),
        ("size: 1G}, mem1", "size: 100M}, mem1", "devices.mem0.size", "a multiple of 256M"),
        ("size: 1G}, mem1", "size: -1}, mem1", "devices.mem0.size", "a multiple of 256M"),
        ("{size: 1G}, mem1", "{}, mem1", "devices.mem0.size", "required"),
        ("cpus: 2", "cpus: 99", "guest.cpus", "1 to 16"),
        ("memory: 512M", "memory: 1K", "guest.memory", "128M"),
        ("guest:", "gust:", "gust", "a key out of"),
        ("device: mem0", "device: mem9", "bridges.bridge0[0].device", "mem0"),
        ("switch: [mem1]", "switch: [mem0]", "bridges.bridge1[0].switch[0]", "no other port"),
        ("switch: [mem1]", "switch: []", "bridges.bridge1[0].switch", "at least one"),
        ("[{device: mem0}]", "[]", "bridges.bridge0", "at least one port"),
        ("[bridge0, bridge1]", "[bridge0]", "windows", "window for every bridge"),
        ("[bridge0, bridge1]", "[bridge0, bridge0]", "windows[0].targets", "different bridges"),
        ("size: 2G", "size: 1G", "windows", "at least the 1G"),
        ("size: 2G", "size: 256M", "windows[0].size", "a multiple of 512M"),
        ("granularity: 512", "granularity: 1000", "windows[0].granularity", "256, 512"),
        ("description: two devices", "description: [1]", "description", "text"),
        ("mem0: {", "Mem 0: {", "devices.Mem 0", "a-z"),
        ("fabric: cxl", "fabric: cxl\nfabric: cxl", "line", "twice"),
        ("fabric: cxl", "fabric: [", "", "YAML"),
    ],
)
def test_refuses(tmp_path: Path, old: str, new: str, key: str, allowed: str) -> None:
    """Each mistake is refused; the message names the file, the key and what is allowed."""
    assert old in GOOD
    with pytest.raises(TopologyError) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    message = str(caught.value)
    assert "mine.yaml" in message
    assert key in message
    assert allowed in message


@pytest.mark.parametrize(
    ("sizes", "windows", "words"),
    [
        ((1, 1, 1, 1), "{targets: [b0, b1], size: 4G}", ""),
        ((1, 2, 1, 2), "{targets: [b0, b1], size: 6G}", ""),
        ((1, 2, 2, 1), "{targets: [b0, b1], size: 6G}", "mem0 of 1G, mem2 of 2G"),
        ((1, 1, 1, 1), "{targets: [b0], size: 2G}, {targets: [b1], size: 2G}", ""),
        # Enough in all, but guests put all that is left below a bridge into the first window.
        (
            (1, 1, 1, 1),
            "{targets: [b0], size: 1G}, {targets: [b0], size: 1G}, {targets: [b1], size: 2G}",
            r"windows\[0\]: found '1G'; allowed: a size of at least 2G",
        ),
        (
            (1, 1, 1, 1),
            "{targets: [b0, b1], size: 4G}, {targets: [b0], size: 2G}",
            r"windows\[1\]: found 'none left'",
        ),
    ],
)
def test_windows_hold_their_regions(
    tmp_path: Path, sizes: tuple[int, ...], windows: str, words: str
) -> None:
    """What guests could not make regions of is refused here, not when they boot."""
    devices = ", ".join(f"mem{index}: {{size: {size}G}}" for index, size in enumerate(sizes))
    text = (
        f"description: x\nfabric: cxl\ndevices: {{{devices}}}\nbridges:\n"
        "  b0: [{switch: [mem1, mem0]}]\n  b1: [{device: mem2}, {device: mem3}]\n"
        f"windows: [{windows}]\n"
    )
    if not words:
        assert load(tmp_path, text).shared_size == sum(sizes) << 30
        return
    with pytest.raises(TopologyError, match=words):
        load(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "3", "null", "a: &a [*a]", "[" * 5000, "\0", "? {a: b}\n: 1",
        "!!python/name:os.system x",
    ],
    ids=["empty", "list", "number", "null", "cycle", "deep", "nul", "complex key", "python tag"],
)
def test_refuses_what_is_no_topology(tmp_path: Path, text: str) -> None:
    """Arbitrary files give a TopologyError, never another exception."""
    with pytest.raises(TopologyError):
        load(tmp_path, text)


def test_refuses_huge_file(tmp_path: Path) -> None:
    """The reader is bounded."""
    with pytest.raises(TopologyError, match="larger file"):
        load(tmp_path, "#" * (MAXIMUM_FILE_SIZE + 1))


def test_nvdimm_beside_the_fabric(tmp_path: Path) -> None:
    """An NVDIMM needs no place below a bridge; a CXL device does."""
    more = GOOD.replace("mem1: {size: 1G}}", "mem1: {size: 1G}, mem2: {size: 256M, kind: nvdimm}}")
    kinds = [(device.name, device.kind) for device in load(tmp_path, more).devices]
    assert kinds == [("mem0", "cxl"), ("mem1", "cxl"), ("mem2", "nvdimm")]
    with pytest.raises(TopologyError, match="mem2 has none"):
        load(tmp_path, more.replace("kind: nvdimm", "kind: cxl"))
    with pytest.raises(TopologyError, match="one of cxl, nvdimm"):
        load(tmp_path, more.replace("kind: nvdimm", "kind: ssd"))


def test_cpus_of_a_lab() -> None:
    """A lab may have more processors than its topology says, within the same limits."""
    one = Topology.load("one-device")
    assert (one.cpus, one.with_cpus(16).cpus, one.with_cpus(16).devices) == (1, 16, one.devices)
    for wrong in (0, 17):
        with pytest.raises(UsageError, match="1 to 16"):
            one.with_cpus(wrong)


def test_unknown_name_lists_the_known_ones() -> None:
    """A wrong name tells which names there are."""
    with pytest.raises(TopologyError, match="one-device"):
        Topology.load("no-such")


def test_missing_file() -> None:
    """A path that does not exist is a TopologyError with the path."""
    with pytest.raises(TopologyError, match=r"/no/such\.yaml"):
        Topology.load("/no/such.yaml")
