# SPDX-License-Identifier: Apache-2.0
"""The QEMU arguments that give a guest the shared memory of a topology.

libvirt 9 has no words for CXL, so these go through <qemu:commandline>; they are plain data here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from famlab_vm.qemu_option import escape
from famlab_vm.topology import Bridge, Device, Topology, Window

# Without an explicit address a pxb-cxl takes the slot that libvirt gives to its own devices.
_FIRST_SLOT = 0x10
# Room for the root ports and switches below each of up to eight host bridges on 256 buses.
_BUSES_PER_BRIDGE = 24


def fabric_arguments(topology: Topology, files: Mapping[str, Path]) -> list[str]:
    """Return the QEMU arguments for `topology`; `files` maps each device name to its file."""
    arguments = []
    for device in topology.devices:
        arguments += ["-object", _backend(device, files[device.name])]
    arguments += _nvdimm_arguments(topology)
    if topology.fabric == "pmem":
        return arguments
    serials = {device.name: number for number, device in enumerate(topology.devices, start=1)}
    for number, bridge in enumerate(topology.bridges):
        arguments += _bridge_arguments(number, bridge, serials)
    indices = {bridge.name: number for number, bridge in enumerate(topology.bridges)}
    options = ["cxl=on"]
    for number, window in enumerate(topology.windows):
        options += _window_options(number, window, indices)
    return [*arguments, "-machine", ",".join(options)]


def _backend(device: Device, file: Path) -> str:
    return (
        f"memory-backend-file,id=backend-{device.name},share=on,"
        f"mem-path={escape(file)},size={device.size}"
    )


def _nvdimm_arguments(topology: Topology) -> list[str]:
    nvdimms = [device for device in topology.devices if device.kind == "nvdimm"]
    if not nvdimms:
        return []
    arguments = ["-machine", "nvdimm=on"]
    # The slots and the address space come with the last -m, which replaces libvirt's own.
    limit = topology.memory + sum(device.size for device in nvdimms)
    arguments += ["-m", f"size={topology.memory}b,slots={len(nvdimms)},maxmem={limit}b"]
    for device in nvdimms:
        arguments += ["-device", f"nvdimm,id={device.name},memdev=backend-{device.name}"]
    return arguments


def _type3(name: str, bus: str, serials: Mapping[str, int]) -> list[str]:
    # The serial number is equal on all guests: it is how they order devices the same way.
    return [
        "-device",
        f"cxl-type3,id={name},bus={bus},volatile-memdev=backend-{name},sn={serials[name]}",
    ]


def _bridge_arguments(number: int, bridge: Bridge, serials: Mapping[str, int]) -> list[str]:
    bus = f"cxl.{number}"
    options = f"pxb-cxl,id={bus},bus=pcie.0,addr={_FIRST_SLOT + number:#x},"
    options += f"bus_nr={_BUSES_PER_BRIDGE * (number + 1)}"
    if len(bridge.ports) == 1 and len(bridge.ports[0].devices) > 1:
        # A bridge with one port passes everything through, as one region, unless told otherwise.
        options += ",hdm_for_passthrough=true"
    arguments = ["-device", options]
    # chassis and slot together have to be unique in the machine; libvirt counts chassis from 1.
    chassis = 0x80 + number
    slot = 0
    for position, port in enumerate(bridge.ports):
        root_port = f"root-port{number}-{position}"
        arguments += [
            "-device",
            f"cxl-rp,id={root_port},bus={bus},port={position},chassis={chassis},slot={slot}",
        ]
        slot += 1
        if not port.switch:
            arguments += _type3(port.devices[0], root_port, serials)
            continue
        switch = f"switch{number}-{position}"
        arguments += ["-device", f"cxl-upstream,id={switch},bus={root_port}"]
        for below, name in enumerate(port.devices):
            downstream = f"{switch}-{below}"
            arguments += [
                "-device",
                f"cxl-downstream,id={downstream},bus={switch},port={below},"
                f"chassis={chassis},slot={slot}",
            ]
            slot += 1
            arguments += _type3(name, downstream, serials)
    return arguments


def _window_options(number: int, window: Window, indices: Mapping[str, int]) -> list[str]:
    prefix = f"cxl-fmw.{number}"
    options = [
        f"{prefix}.targets.{position}=cxl.{indices[name]}"
        for position, name in enumerate(window.targets)
    ]
    options.append(f"{prefix}.size={window.size}")
    if len(window.targets) > 1:
        options.append(f"{prefix}.interleave-granularity={window.granularity}")
    return options
