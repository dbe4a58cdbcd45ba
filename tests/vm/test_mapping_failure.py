# SPDX-License-Identifier: Apache-2.0
"""Contract: a page of memory that fails takes its bytes of the file that lies on it, on the host
whose kernel was told, and nothing else: no other range, file or host. A driver that is unbound
takes what is mapped, and gives it back whole.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest
from famfs_verbs import MEBI
from support import programs
from support.evidence import observer
from vm.cluster import Cluster
from vm.labs import TestLab
from vm.mapping import KINDS, ODD_SIZE, Held, Probe, kill_daemon, make, require_method
from vm.memory_errors import PAGE, WAYS, bind_anew, fail, failed, failed_page, name_of, place
from vm.shapes import Shape

pytestmark = [
    pytest.mark.shapes(dax=("fsdev_dax",)),
    pytest.mark.expects_kernel_trouble("Memory failure:", host="host0"),
    pytest.mark.own_mount,
    pytest.mark.timeout(600),
]

BUS_MCEERR_AR = 4
LOST = 4 * MEBI + 5 * PAGE  # inside a large page

by_every_way = pytest.mark.parametrize("way", list(WAYS))


@pytest.fixture(autouse=True)
def sound_again(lab: TestLab) -> Iterator[None]:
    """Failed pages stay so until the device is bound anew."""
    device = lab.devices()[0].path
    require_method(lab.hosts[0], device)
    yield
    bind_anew(lab.hosts[0], device)
    assert failed(lab.hosts[0]) == []


def is_lost(held: Held, *offsets: int) -> None:
    """The bytes can be used in no way."""
    failure = f"sigbus {BUS_MCEERR_AR}, " * 2 + f"errno {errno.EIO}, errno {errno.EIO}"
    assert held.ask("use", *offsets).splitlines() == [failure] * len(offsets)


def is_sound(held: Held, *offsets: int) -> None:
    """The bytes can be used in every way."""
    assert held.ask("use", *offsets).splitlines() == ["ok, ok, ok, ok"] * len(offsets)


def only_that_page_is_lost(held: Held, offset: int) -> None:
    page = offset // PAGE * PAGE
    is_lost(held, page, offset, page + PAGE - 1)
    is_sound(held, 0, page - 1, page + PAGE, page + 2 * MEBI, ODD_SIZE - 1)


@by_every_way
@pytest.mark.parametrize("kind", list(KINDS))
def test_under_a_mapped_file(
    mapped: Cluster, probes: list[Probe], shape: Shape, kind: str, way: str
) -> None:
    """Who has the file mapped lives on, and gets SIGBUS and EIO for exactly the failed page."""
    master, client = mapped.all[:2]
    for name in ("file", "other"):
        make(master, name, ODD_SIZE, kind)
    offset = place(master, "file", LOST)
    with (
        probes[0].hold("held", master.path("file"), touch=True) as held,
        probes[0].hold("else", master.path("other"), touch=True) as other,
        probes[1].hold("held", client.path("file"), touch=True) as far,
    ):
        fail(mapped.lab.hosts[0], master.device, way, offset)
        only_that_page_is_lost(held, LOST)
        is_sound(other, LOST)
        is_sound(far, LOST)
    assert failed(mapped.lab.hosts[0]) == [failed_page(master.device, offset)]
    assert failed(mapped.lab.hosts[1]) == []


@by_every_way
def test_under_a_file_that_is_not_mapped(
    mapped: Cluster, probes: list[Probe], shape: Shape, way: str
) -> None:
    """Who opens and maps it later has all of it but the failed page."""
    master, client = mapped.all[:2]
    make(master, "file", ODD_SIZE, "contiguous")
    probes[0].run("store", master.path("file"), 0, ODD_SIZE, 1)
    fail(mapped.lab.hosts[0], master.device, way, place(master, "file", LOST))
    with probes[0].hold("held", master.path("file")) as held:
        only_that_page_is_lost(held, LOST)
    assert "Input/output error" in master.run("cat", master.path("file"), check=False).text
    flushed = master.famfs("flush", master.path("file"), check=False)
    assert flushed.returncode == errno.EIO and f"at offset {LOST} " in flushed.text
    probes[1].run("load", client.path("file"), LOST, PAGE, 1)


@by_every_way
def test_in_free_space(mapped: Cluster, probes: list[Probe], shape: Shape, way: str) -> None:
    """Nobody notices, until a file gets the space: it has all but the failed page."""
    master, client = mapped.all[:2]
    make(master, "before", ODD_SIZE, "contiguous")
    end = place(master, "before", 0) + 10 * MEBI
    with probes[0].hold("held", master.path("before"), touch=True) as before:
        fail(mapped.lab.hosts[0], master.device, way, end + LOST)
        is_sound(before, 0, LOST, ODD_SIZE - 1)
    make(master, "file", ODD_SIZE, "contiguous")
    assert place(master, "file", LOST) == end + LOST
    with probes[0].hold("held", master.path("file")) as held:
        only_that_page_is_lost(held, LOST)
    with probes[1].hold("held", client.path("file")) as far:
        is_sound(far, 0, LOST, ODD_SIZE - 1)
    master.fsck()


def test_a_failed_page_outlives_daemon_and_mount(
    mapped: Cluster, probes: list[Probe], shape: Shape
) -> None:
    """The kernel remembers it when the daemon is killed, the file system mounted again or made
    anew; the mapping that was there keeps the rest."""
    master = mapped.master
    make(master, "file", ODD_SIZE, "contiguous")
    offset = place(master, "file", LOST)
    fail(mapped.lab.hosts[0], master.device, "hard-offline", offset)
    with probes[0].hold("held", master.path("file")) as held:
        observer.collect_from(master.machine)
        kill_daemon(master)
        only_that_page_is_lost(held, LOST)
    mapped.umount_all()
    assert failed(mapped.lab.hosts[0]) == [failed_page(master.device, offset)]
    master.mount()
    with probes[0].hold("held", master.path("file")) as held:
        only_that_page_is_lost(held, LOST)
    mapped.umount_all()
    mapped.make_and_mount()
    make(master, "before", 2 * MEBI, "contiguous")
    make(master, "file", ODD_SIZE, "contiguous")
    assert place(master, "file", LOST - 2 * MEBI) == offset
    with probes[0].hold("held", master.path("file")) as held:
        only_that_page_is_lost(held, LOST - 2 * MEBI)


def test_the_driver_goes_under_live_mappings(
    mapped: Cluster, probes: list[Probe], shape: Shape
) -> None:
    """Unbinding kills who has files mapped, the daemon too, on that host only; bound and mounted
    again it has every byte."""
    master, client = mapped.all[:2]
    make(master, "file", ODD_SIZE, "interleaved")
    probes[0].run("store", master.path("file"), 0, ODD_SIZE, 1)
    unbind = f"echo {name_of(master.device)} > /sys/bus/dax/drivers/fsdev_dax/unbind"
    with (
        probes[0].hold("held", master.path("file"), touch=True),
        probes[1].hold("held", client.path("file"), touch=True) as far,
    ):
        observer.collect_from(master.machine)
        master.run("sh", "-c", unbind)
        for program in ("mapprobe", programs.daemon()):
            assert master.run("pgrep", "-x", program, check=False).stdout == b""
        is_sound(far, 0, LOST)
        refused = master.run("cat", master.path("file"), check=False)
        assert refused.returncode != 0 and "not connected" in refused.text
    master.famfs("umount", master.mount_point)
    bind_anew(mapped.lab.hosts[0], master.device)
    master.mount()
    probes[0].run("load", master.path("file"), ODD_SIZE // 2, ODD_SIZE // 2, 1)
    # Nobody has written back what the killed process had stored: it would reach the memory later,
    # and whatever lies there then.
    master.flush("file")


def test_a_device_bound_anew_has_all_its_pages(
    mapped: Cluster, probes: list[Probe], shape: Shape
) -> None:
    """A machine check took a page out of the kernel's own map of memory; binding puts it back."""
    master = mapped.master
    make(master, "file", ODD_SIZE, "contiguous")
    fail(mapped.lab.hosts[0], master.device, "machine-check", place(master, "file", LOST))
    mapped.umount_all()
    bind_anew(mapped.lab.hosts[0], master.device)
    master.mount()
    with probes[0].hold("held", master.path("file")) as held:
        is_sound(held, LOST, LOST + 77, LOST + PAGE - 1)
