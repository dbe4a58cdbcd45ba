# SPDX-License-Identifier: Apache-2.0
"""Contract: a guest's XML is well-formed whatever its paths are, and carries the fabric."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from famlab_vm.domain import GuestDescription, GuestFiles, domain_xml
from famlab_vm.fabric import fabric_arguments
from famlab_vm.memory import memory_files
from famlab_vm.topology import Topology, topology_directory, topology_names

_QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"


def guest(topology: str, directory: str = "/run/famlab/lab") -> GuestDescription:
    """Return a description with fixed values."""
    loaded = Topology.load(topology)
    return GuestDescription(
        host="host0",
        domain_name="famlab-lab-host0",
        uuid="11111111-2222-3333-4444-555555555555",
        lab_uuid="66666666-2222-3333-4444-555555555555",
        topology=loaded,
        memory_files=memory_files(loaded, Path(directory)),
        dax="fsdev_dax",
        kvm=False,
        kernel=Path("/a/vmlinux"),
        image=Path("/a/root.erofs"),
        share=Path("/a/guest"),
        emulator=Path("/a/qemu"),
        files=GuestFiles(Path(directory) / "host0"),
    )


@pytest.mark.parametrize("kvm", [False, True])
def test_clock_offset(kvm: bool) -> None:
    """The clock that the guest finds is ahead; KVM's own, which is right, is not used then."""
    right = replace(guest("one-device"), kvm=kvm)
    clock = ElementTree.fromstring(domain_xml(right)).find("clock")
    assert clock is not None and clock.get("offset") == "utc"
    assert "no-kvmclock" not in right.kernel_arguments
    ahead = replace(right, clock_offset=-90)
    clock = ElementTree.fromstring(domain_xml(ahead)).find("clock")
    assert clock is not None
    assert dict(clock.items()) == {"offset": "variable", "basis": "utc", "adjustment": "-90"}
    assert ("no-kvmclock" in ahead.kernel_arguments) == kvm


def test_one_emulated_cpu_has_no_timer_to_measure() -> None:
    """Several need their own timers, and KVM tells the frequency."""
    one = guest("one-device")
    two = replace(one, topology=one.topology.with_cpus(2))
    for description, expected in ((one, True), (two, False), (replace(one, kvm=True), False)):
        assert ("nolapic_timer" in description.kernel_arguments) == expected


def arguments(topology: str) -> list[str]:
    """Return the fabric's QEMU arguments for a topology of famlab."""
    loaded = Topology.load(topology)
    return fabric_arguments(loaded, memory_files(loaded, Path("/m")))


@pytest.mark.parametrize("topology", topology_names())
def test_xml_is_well_formed(topology: str) -> None:
    """The XML parses and holds what identifies the guest."""
    root = ElementTree.fromstring(domain_xml(guest(topology)))
    assert root.findtext("name") == "famlab-lab-host0"
    assert root.findtext("on_crash") == "preserve"
    cmdline = root.findtext("os/cmdline") or ""
    assert "famlab.host=host0" in cmdline
    assert "famlab.dax=fsdev_dax" in cmdline
    passed = [item.get("value") for item in root.iter(f"{_QEMU}arg")]
    assert "-gdb" in passed


def test_strange_paths_are_escaped() -> None:
    """Markup and commas in paths reach QEMU as they are."""
    strange = "/x/a<b>&'\",c"
    root = ElementTree.fromstring(domain_xml(guest("one-device", strange)))
    passed = " ".join(item.get("value") or "" for item in root.iter(f"{_QEMU}arg"))
    assert strange.replace(",", ",,") + "/memory/mem0" in passed
    source = root.find("devices/serial/source")
    assert source is not None
    assert source.get("path") == f"{strange}/host0/console.log"


def test_each_device_has_its_own_serial_number() -> None:
    """Guests order devices by serial number, so it has to be distinct and not 0."""
    devices = [word for word in arguments("two-bridges") if word.startswith("cxl-type3")]
    assert [word.rpartition("sn=")[2] for word in devices] == ["1", "2"]


def test_interleaved_window() -> None:
    """A window over two bridges names both, and its granularity."""
    machine = arguments("interleave-2")[-1]
    assert "cxl-fmw.0.targets.0=cxl.0,cxl-fmw.0.targets.1=cxl.1" in machine
    assert "cxl-fmw.0.interleave-granularity=4096" in machine


def test_bridges_have_an_explicit_place() -> None:
    """Without addr QEMU gives a bridge a slot that libvirt uses."""
    bridges = [word for word in arguments("two-bridges") if word.startswith("pxb-cxl")]
    assert len(bridges) == 2
    assert all("addr=0x1" in word for word in bridges)
    assert bridges[0] != bridges[1]


def test_switch() -> None:
    """Devices below a switch hang on its downstream ports."""
    words = arguments("switch")
    assert sum(word.startswith("cxl-upstream") for word in words) == 1
    assert sum(word.startswith("cxl-downstream") for word in words) == 2
    assert sum("bus=switch0-0-" in word for word in words) == 2
    # Without decoders in the bridge there could be only one region below the switch.
    assert sum("hdm_for_passthrough=true" in word for word in words) == 1
    assert not any("hdm_for_passthrough" in word for word in arguments("one-device"))


def test_slots_are_distinct() -> None:
    """chassis and slot together are unique among the ports."""
    for topology in topology_names():
        places = [
            word[word.index("chassis="):].split(",")[:2]
            for word in arguments(topology) if "chassis=" in word
        ]
        assert len(places) == len({tuple(place) for place in places})


def test_nvdimm_beside_the_fabric(tmp_path: Path) -> None:
    """Slots and address space are for the NVDIMMs alone, and the CXL devices stay as they are."""
    text = (topology_directory() / "one-device.yaml").read_text()
    path = tmp_path / "mixed.yaml"
    two = "mem0: {size: 4G}\n  mem1: {size: 1G, kind: nvdimm}"
    path.write_text(text.replace("mem0: {size: 4G}", two))
    words = arguments(str(path))
    assert f"size={1 << 30}b,slots=1,maxmem={2 << 30}b" in words
    assert "nvdimm,id=mem1,memdev=backend-mem1" in words
    assert [word for word in words if word.startswith("cxl-type3")] == [
        word for word in arguments("one-device") if word.startswith("cxl-type3")
    ]
    assert "nvdimm=on" not in arguments("one-device")


def test_memory_is_shared() -> None:
    """Every backend is shared between guests, in CXL and as persistent memory."""
    for topology in topology_names():
        backends = [w for w in arguments(topology) if w.startswith("memory-backend-file")]
        assert backends
        assert all("share=on" in word for word in backends)
