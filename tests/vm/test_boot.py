# SPDX-License-Identifier: Apache-2.0
"""Contract: a guest shows the memory mode that was asked for, and when a boot fails the verdict
says which of the ways it failed in, with the evidence. A boot error is not a test failure.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from famlab_vm.errors import BootPanic, NoRegion, UsageError
from famlab_vm.machine import DaxDevice
from support.leaks import current
from vm.host import LabHost
from vm.labs import LabKeeper, TestLab
from vm.mapping import METHODS, offers
from vm.shapes import Shape


def drivers(host: LabHost) -> set[str]:
    """Of its dax devices: as they are listed, and as sysfs shows them."""
    found = set()
    for device in host.devices():
        link = f"/sys/bus/dax/devices/{device.path.rpartition('/')[2]}/driver"
        found |= {device.mode, host.run(["readlink", link]).text.strip().rpartition("/")[2]}
    return found


@pytest.mark.shapes(
    dax=("device_dax", "fsdev_dax"), topologies=("one-device", "two-bridges"), only=True
)
def test_dax_mode_is_the_one_asked_for(lab: TestLab, shape: Shape) -> None:
    """Init's report and the driver that sysfs shows are both the mode that was asked for."""
    for host in lab.hosts:
        assert drivers(host) == {shape.dax}


@pytest.mark.of_the_lab
def test_driver_is_changed_without_a_boot(lab: TestLab, shape: Shape) -> None:
    """Every host has it at once, and still when it has booted again."""
    here, there = lab.hosts
    boots = here.guest.console_offset()
    for dax in ("fsdev_dax", "device_dax"):
        assert lab.take(replace(shape, dax=dax))
        assert drivers(here) == drivers(there) == {dax}
        lab.restart(there)
        assert drivers(there) == {dax}
    assert "Linux version" not in here.guest.console_text(boots)
    with pytest.raises(UsageError, match="found 'dax_kmem'"):
        lab.lab.change_dax_driver("dax_kmem")


@pytest.mark.shapes(dax=("fsdev_dax",))
def test_fsdev_dax_works_or_says_what_is_missing(
    lab: TestLab, devices: list[DaxDevice], shape: Shape
) -> None:
    """Such a device has no mmap: with a kernel that maps files mkfs and mount work all the same;
    with another they fail, and say what is missing and what helps."""
    host = lab.hosts[0]
    host.run(["mkdir", "-p", "/mnt/boot"])
    maps = any(offers(host, devices[0].path, method) for method in METHODS)
    for words in (
        ["mkfs.famfs", "-f", devices[0].path],
        ["famfs", "mount", devices[0].path, "/mnt/boot"],
    ):
        done = host.run(words, check=False)
        if maps:
            assert done.returncode == 0
        else:
            assert 0 < done.returncode < 128
            assert "fsdev_dax" in done.text and "--set-daxmode" in done.text
    if maps:
        host.run(["famfs", "umount", "/mnt/boot"])


@pytest.mark.of_the_lab
@pytest.mark.expects_kernel_trouble("Kernel panic|Call Trace", host="host0")
def test_panic_at_boot_is_named(keeper: LabKeeper) -> None:
    """A kernel that finds no init panics: BootPanic, with the kernel's own words."""
    with pytest.raises(BootPanic) as caught:
        keeper.start(Shape(hosts=1), kernel_arguments="init=/nonexistent")
    assert "Kernel panic - not syncing" in caught.value.evidence
    assert "/nonexistent" in caught.value.evidence
    assert caught.value.host == "host0"


@pytest.mark.of_the_lab
def test_missing_region_is_named_and_leaves_nothing(keeper: LabKeeper) -> None:
    """Guests without CXL root decoders get no region: NoRegion says why, and the lab is gone."""
    keeper.drop()
    with pytest.raises(NoRegion) as caught:
        keeper.start(Shape(hosts=2), kernel_arguments="initcall_blacklist=cxl_acpi_init")
    assert "region" in str(caught.value)
    assert not {leak for leak in current() if leak.kind in ("process", "socket")}


@pytest.mark.of_the_lab
@pytest.mark.expects_kernel_trouble("Kernel panic|Call Trace|NMI", host="host0")
@pytest.mark.shapes(hosts=(2,), fewest=2)
def test_panicked_host_is_known_and_comes_back(lab: TestLab, shape: Shape) -> None:
    """panic() panics the kernel; the lab knows, its neighbour runs on, restart() revives it."""
    first, second = lab.hosts[:2]
    first.panic()
    assert first.guest.panicked()
    assert "Kernel panic - not syncing" in first.guest.boot_text()
    second.run(["true"])
    lab.restart(first)
    first.run(["true"])
    assert not first.guest.panicked()
