# SPDX-License-Identifier: Apache-2.0
"""Makes pages of shared memory fail under the kernel of one host, and undoes it."""

from __future__ import annotations

from collections.abc import Callable

from famfs_verbs import Famfs
from vm.host import LabHost
from vm.mapping import counters

PAGE = 4096
DEVICES = "/sys/kernel/debug/fuse_dax/devices"
_OFFLINE = "echo $1 > /sys/devices/system/memory/hard_offline_page"
_BIND_ANEW = (
    "cd /sys/bus/dax/drivers/fsdev_dax; if [ -e $1 ]; then echo $1 > unbind; fi; echo $1 > bind"
)


def offline_page(host: LabHost, address: int) -> None:
    """As an administrator or a daemon that watches for errors does."""
    host.run(["sh", "-c", _OFFLINE, "sh", hex(address)])


def machine_check(host: LabHost, address: int) -> None:
    """As the processor does."""
    host.machine_check(address)


WAYS: dict[str, Callable[[LabHost, int], None]] = {
    "hard-offline": offline_page,
    "machine-check": machine_check,
}


def name_of(device: str) -> str:
    return device.rpartition("/")[2]


def place(famfs: Famfs, name: str, offset: int) -> int:
    """Where on the device the byte of a file is, by what `famfs getmap` shows."""
    shown = famfs.famfs("getmap", famfs.path(name)).stdout.decode()
    starts = [int(line.split()[3], 16) for line in shown.splitlines() if "offset:" in line]
    if "chunk size" not in shown:
        assert len(starts) == 1
        return starts[0] + offset
    chunk = int(shown.partition("chunk size ")[2].partition(")")[0])
    number, within = divmod(offset, chunk)
    return starts[number % len(starts)] + number // len(starts) * chunk + within


def fail(host: LabHost, device: str, way: str, offset: int) -> None:
    """The page at an offset of the device fails; returns when the kernel has dealt with it."""
    resource = f"/sys/bus/dax/devices/{name_of(device)}/resource"
    start = int(host.run(["cat", resource]).stdout, 16)
    before = counters(host)["failures"]
    WAYS[way](host, start + offset)
    for _ in range(100):
        if counters(host)["failures"] == before + 1:  # a machine check is dealt with later
            return
        host.run(["sleep", "0.1"])
    raise AssertionError("the kernel has not noticed that memory failed")


def failed(host: LabHost) -> list[str]:
    """The failed ranges of all devices, as the kernel shows them."""
    shown = host.run(["cat", DEVICES]).stdout.decode().splitlines()
    return [line for line in shown if " failed " in line]


def failed_page(device: str, offset: int) -> str:
    """How the kernel shows one failed page."""
    first = offset // PAGE * PAGE
    return f"{name_of(device)} failed {first:#x}-{first + PAGE - 1:#x}"


def bind_anew(host: LabHost, device: str) -> None:
    """Gives the device to its driver again, with new page structures: its pages are sound."""
    host.run(["sh", "-c", _BIND_ANEW, "sh", name_of(device)])
