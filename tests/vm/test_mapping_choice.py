# SPDX-License-Identifier: Apache-2.0
"""Contract: the method is the best that kernel and device have, a forced one or none; the driver of
a device is changed only when asked for, and given back; the tools work without a mount.
"""

from __future__ import annotations

import errno

import pytest
from famfs_verbs import MEBI, Famfs, random_bytes
from famlab_vm.machine import DaxDevice
from vm.cluster import MOUNT_POINT, Cluster
from vm.host import LabHost
from vm.labs import LabKeeper, TestLab, kernel_of_flavor
from vm.mapping import METHODS, Probe, make, offers, require_method
from vm.shapes import Shape


def driver_of(host: LabHost, device: DaxDevice) -> str:
    name = device.path.rpartition("/")[2]
    link = host.run(["readlink", f"/sys/bus/dax/devices/{name}/driver"]).stdout.decode()
    return link.strip().rpartition("/")[2]


def famfs_on(lab: TestLab, devices: list[DaxDevice]) -> Famfs:
    host = lab.hosts[0]
    host.ensure_directory(MOUNT_POINT)
    return Famfs(host, devices[0].path, MOUNT_POINT)


@pytest.mark.shapes(dax=("device_dax",))
def test_on_device_dax_the_daemon_serves(
    lab: TestLab, devices: list[DaxDevice], probes: list[Probe], shape: Shape
) -> None:
    """It says why, a forced method of the kernel is refused with what it lacks, and mmap with
    MAP_SHARED is refused."""
    famfs = famfs_on(lab, devices)
    famfs.mkfs()
    for method in (*METHODS, "fmap-v10"):
        refused = famfs.mount("-o", f"method={method}", check=False)
        assert refused.returncode == errno.EOPNOTSUPP
        assert method in refused.text
    said = famfs.mount().text
    try:
        assert "mapping method daemon-served" in said and "no mapping by the kernel" in said
        make(famfs, "file", 4 * MEBI, "contiguous")
        refused = probes[0].run("store", famfs.path("file"), 0, 1, 0, check=False)
        assert "mmap" in refused.text and "No such device" in refused.text
    finally:
        famfs.umount()


@pytest.mark.shapes(dax=("fsdev_dax",))
def test_the_best_method_is_chosen_and_a_wrong_one_refused(
    lab: TestLab, devices: list[DaxDevice], shape: Shape
) -> None:
    """The first that the kernel has; the daemon cannot serve files on such a device and says so."""
    famfs = famfs_on(lab, devices)
    require_method(lab.hosts[0], devices[0].path)
    famfs.mkfs()
    best = next(m for m in METHODS if offers(lab.hosts[0], devices[0].path, m))
    said = famfs.mount().text
    try:
        assert f"mapping method {best}:" in said
    finally:
        famfs.umount()
    for method, reason in (("daemon-served", "device_dax"), ("fmap-v10", "bit ")):
        refused = famfs.mount("-o", f"method={method}", check=False)
        assert refused.returncode == errno.EOPNOTSUPP
        assert method in refused.text and reason in refused.text


@pytest.mark.shapes(dax=("fsdev_dax",))
def test_tools_work_without_a_mount(lab: TestLab, devices: list[DaxDevice], shape: Shape) -> None:
    """mkfs, fsck and logplay reach superblock and log of a device that cannot be mapped itself."""
    famfs = famfs_on(lab, devices)
    require_method(lab.hosts[0], devices[0].path)
    famfs.mkfs("--loglen", "16m")
    assert famfs.mkfs(check=True).returncode == 0
    famfs.mount()
    try:
        famfs.put("file", random_bytes(MEBI, 1))
        famfs.fsck("-v")  # by the mount point, over the daemon's own window
        played = famfs.famfs("logplay", "--dryrun", famfs.mount_point).text
        assert "1 files" in played
        refused = famfs.run("famfs", "fsck", famfs.device, check=False)
        assert refused.returncode != 0 and "mounted" in refused.text
        assert famfs.mkfs(check=False).returncode == 2
    finally:
        famfs.umount()
    famfs.fsck()
    assert "1 files" in famfs.famfs("logplay", "--dryrun", famfs.device).text
    assert driver_of(lab.hosts[0], devices[0]) == "fsdev_dax"


@pytest.mark.shapes(dax=("fsdev_dax",))
def test_a_second_mount_of_the_device_on_one_host_is_refused(
    mapped: Cluster, shape: Shape
) -> None:
    """The kernel gives a byte to one file only: EBUSY, and it says why."""
    host = mapped.clients[0]
    host.run("mkdir", "-p", "/mnt/second")
    refused = host.run("famfs", "mount", host.device, "/mnt/second", check=False)
    assert refused.returncode == errno.EBUSY
    assert "in use by another mount" in refused.text


@pytest.mark.shapes(dax=("device_dax",))
def test_the_driver_is_lent_for_a_mount(
    lab: TestLab, devices: list[DaxDevice], shape: Shape
) -> None:
    """With --set-daxmode the device is bound to fsdev_dax while it is mounted, and to device_dax
    before and after; a forced daemon-served leaves it."""
    host = lab.hosts[0]
    famfs = famfs_on(lab, devices)
    require_method(host, devices[0].path)
    famfs.mkfs("--set-daxmode")
    assert driver_of(host, devices[0]) == "device_dax"
    famfs.mount("--set-daxmode")
    assert driver_of(host, devices[0]) == "fsdev_dax"
    make(famfs, "file", 4 * MEBI, "contiguous")
    famfs.famfs("umount", famfs.mount_point)
    assert driver_of(host, devices[0]) == "device_dax"
    famfs.mount("--set-daxmode", "-o", "method=daemon-served")
    try:
        assert driver_of(host, devices[0]) == "device_dax"
        assert famfs.tree()["file"].size == 4 * MEBI
    finally:
        famfs.umount()


@pytest.mark.shapes(dax=("fsdev_dax",))
def test_the_driver_is_lent_for_daemon_served(
    lab: TestLab, devices: list[DaxDevice], shape: Shape
) -> None:
    """The other way round: device_dax while mounted by method daemon-served, fsdev_dax after."""
    host = lab.hosts[0]
    famfs = famfs_on(lab, devices)
    famfs.mkfs("--set-daxmode")
    assert driver_of(host, devices[0]) == "fsdev_dax"
    famfs.mount("--set-daxmode", "-o", "method=daemon-served")
    assert driver_of(host, devices[0]) == "device_dax"
    famfs.put("file", random_bytes(MEBI, 2))
    assert famfs.read("file") == random_bytes(MEBI, 2)
    famfs.famfs("umount", famfs.mount_point)
    assert driver_of(host, devices[0]) == "fsdev_dax"


@pytest.mark.shapes(dax=("fsdev_dax",))
def test_a_mounted_device_keeps_its_driver(
    mapped: Cluster, probes: list[Probe], shape: Shape
) -> None:
    """--set-daxmode of a second command does not pull the device from under a mount."""
    host = mapped.clients[0]
    host.run("mkdir", "-p", "/mnt/second")
    for words in (
        ["famfs", "mount", "-M", "-o", "method=daemon-served", host.device, "/mnt/second"],
        ["famfs", "fsck", "-M", host.device],
    ):
        refused = host.run(*words, check=False)
        assert refused.returncode != 0 and "mounted" in refused.text
    make(mapped.master, "file", 2 * MEBI, "contiguous")
    probes[1].run("sparse", host.path("file"), 1)


@pytest.mark.timeout(600)
def test_a_kernel_without_the_methods(keeper: LabKeeper) -> None:
    """The daemon serves and says why; a forced method names what the kernel lacks, and so do the
    tools where the driver allows nothing else."""
    kernel = kernel_of_flavor("nomap")
    with keeper.apart(Shape(hosts=1, dax="fsdev_dax"), kernel=kernel) as lab:
        host = lab.hosts[0]
        devices = lab.devices()
        famfs = famfs_on(lab, devices)
        for refused in (famfs.mkfs(check=False), famfs.mount(check=False)):
            assert refused.returncode != 0
            assert "this kernel cannot map files" in refused.text
            assert "--set-daxmode" in refused.text
        famfs.mkfs("--set-daxmode")
        for method in METHODS:
            refused = famfs.mount("--set-daxmode", "-o", f"method={method}", check=False)
            assert refused.returncode == errno.EOPNOTSUPP
            assert f"mapping method {method} cannot be used" in refused.text
            assert "the kernel does not offer" in refused.text
            assert driver_of(host, devices[0]) == "fsdev_dax"
        said = famfs.mount("--set-daxmode").text
        assert "mapping method daemon-served" in said and "bit " in said
        famfs.put("file", random_bytes(MEBI, 3))
        assert famfs.read("file") == random_bytes(MEBI, 3)
        assert "method: daemon-served" in famfs.famfs("getmap", famfs.path("file")).text
        famfs.umount()
        assert driver_of(host, devices[0]) == "fsdev_dax"
