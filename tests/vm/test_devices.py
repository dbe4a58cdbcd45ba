# SPDX-License-Identifier: Apache-2.0
"""Contract: one file system on two dax devices, which the hosts name differently: a file in a strip
on each is the same everywhere, and a host without one of them still has the rest. By every mapping
method.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from famfs_verbs import MEBI, Famfs, random_bytes, sha256
from famlab_vm.machine import DaxDevice
from vm.cluster import Cluster
from vm.host import LabHost
from vm.labs import TestLab
from vm.mapping import ALL_METHODS, DAEMON_SERVED, Probe, require_method
from vm.shapes import Shape

STRIPED = ("--nstrips", "2", "--chunksize", "2M")
LITTLE = 32 * MEBI  # what a file that fills the first device leaves of it

# Gives the memory of each dax device named after $1 to a new one of the same region, which has the
# next number, and that to the driver $1. Prints the new names.
RENAME = """
set -e
driver=$1
shift
for old; do
    device=$(readlink -e "/sys/bus/dax/devices/$old")
    region=$(dirname "$device")
    size=$(cat "$device/size")
    echo "$old" >"$device/driver/unbind"
    echo 0 >"$device/size"
    echo 1 >"$region/dax_region/create"
    new=$(cat "$region/dax_region/create")
    echo "$size" >"$region/$new/size"
    echo "$new" >"/sys/bus/dax/drivers/$driver/new_id"
    echo "/dev/$new"
done
"""

pytestmark = [
    # Not two-bridges: QEMU maps only the last of its windows as RAM, the other is 50 times slower.
    pytest.mark.shapes(topologies=("switch",), dax=("fsdev_dax",), only=True),
    pytest.mark.timeout(900),
]


@dataclass
class Host:
    """A host, and what the two devices are called there."""

    famfs: Famfs
    machine: LabHost
    probe: Probe
    first: str
    second: str

    def status(self) -> dict[str, Any]:
        words = ["getfattr", "--only-values", "-n", "user.famfs.shadow", self.famfs.mount_point]
        directory = self.famfs.run(*words).stdout.decode().strip()
        answer = self.probe.run("get", f"{directory}/sock", "/status").stdout.decode()
        status: dict[str, Any] = json.loads(answer.partition("\r\n\r\n")[2])
        return status


@dataclass
class Devices:
    """A file system on two devices, not yet made or mounted."""

    master: Host
    client: Host
    method: str

    @property
    def hosts(self) -> list[Host]:
        return [self.master, self.client]

    def make(self) -> None:
        """On both devices."""
        options = self.master.famfs.mkfs_options
        words = ["mkfs.famfs", "--force", *options, self.master.first, self.master.second]
        assert "No errors found" in self.master.famfs.run(*words).text

    def mount(self) -> None:
        for host in self.hosts:
            outcome = host.famfs.mount()
            assert f"mapping method {self.method}" in outcome.text
            assert "warning" not in outcome.text

    def give_verbs_their_options(self) -> None:
        for host in self.hosts:
            # The daemon serves files only over the other driver, which is lent for the mount, and
            # of the second device only where that is named; the kernel's methods find it unnamed.
            lent = self.method == DAEMON_SERVED
            host.famfs.mkfs_options = ("--set-daxmode",) if lent else ()
            host.famfs.mount_options = (
                *host.famfs.mkfs_options, "-o", f"method={self.method}",
                *(("-o", f"daxdev={host.second}") if lent else ()),
            )  # fmt: skip


@pytest.fixture(params=ALL_METHODS)
def on_two(
    request: pytest.FixtureRequest,
    lab: TestLab,
    devices: list[DaxDevice],
    probes: list[Probe],
    shape: Shape,
) -> Iterator[Devices]:
    """Both hosts name the devices alike."""
    first, second = (device.path for device in devices)
    method = str(request.param)
    require_method(lab.hosts[0], first, method)
    cluster = Cluster(lab, first)
    hosts = [
        Host(famfs, machine, probe, first, second)
        for famfs, machine, probe in zip(cluster.all, lab.hosts, probes)
    ]
    on_two = Devices(hosts[0], hosts[1], method)
    on_two.give_verbs_their_options()
    yield on_two
    cluster.umount_all()


@pytest.fixture
def renamed(on_two: Devices, lab: TestLab) -> Iterator[Devices]:
    """The client has other names for the devices."""
    client = on_two.client
    names = (path.rpartition("/")[2] for path in (client.first, client.second))
    words = ["sh", "-c", RENAME, "sh", "fsdev_dax", *names]
    client.first, client.second = client.machine.run(words).stdout.decode().split()
    assert client.first != on_two.master.first and client.second != on_two.master.second
    client.famfs.device = client.first
    on_two.give_verbs_their_options()
    yield on_two
    if client.famfs.mounted:
        client.famfs.umount()
    # The lab goes on to other tests, for which all hosts have the same names.
    lab.restart(client.machine)


DRIVE = 'echo "$1" >"/sys/bus/dax/drivers/fsdev_dax/$2"'


def drive_second(host: Host, verb: str) -> None:
    """Takes the second device from its driver, or gives it back."""
    host.famfs.run("sh", "-c", DRIVE, "sh", host.second.rpartition("/")[2], verb)


def test_devices_of_other_names(renamed: Devices) -> None:
    """Each host finds the second device under its own name; strips and whole files on it are the
    same on both, read, written and mapped.
    """
    renamed.make()
    renamed.mount()
    master, client = renamed.master.famfs, renamed.client.famfs
    content = random_bytes(11 * MEBI + 5, seed=1)
    master.put("striped", content, *STRIPED)
    for famfs in (master, client):
        shown = famfs.famfs("getmap", famfs.path("striped")).text
        assert "dev: 0" in shown and "dev: 1" in shown
    assert client.sha256() == {"striped": sha256(content)}
    # Written through the client's kernel across the border of two strips.
    patch = random_bytes(3 * MEBI, seed=2)
    client.overwrite("striped", MEBI, patch)
    master.flush("striped")
    content = content[:MEBI] + patch + content[4 * MEBI :]
    assert master.sha256() == {"striped": sha256(content)}
    # By mmap(2) where the method has it, as these commands use it.
    master.creat("mapped", 20 * MEBI, *STRIPED, "--randomize", "--seed", "3")
    client.famfs("verify", "--seed", "3", "--filename", client.path("mapped"))

    # Where the first device is full, a whole file is on the second one.
    master.creat("big", renamed.master.status()["devices"][0]["size"] - LITTLE)
    whole = random_bytes(7 * MEBI, seed=3)
    master.put("whole", whole)
    shown = client.famfs("getmap", client.path("whole")).text
    assert "dev: 1" in shown and "dev: 0" not in shown
    assert client.sha256("whole") == {"whole": sha256(whole)}

    for host in renamed.hosts:
        status = host.status()
        assert [device["name"] for device in status["devices"]] == [host.first, host.second]
        assert [device["state"] for device in status["devices"]] == ["current", "current"]
        sizes = [device["size"] for device in status["devices"]]
        assert status["space"]["capacity"] == sum(sizes)
        if renamed.method != DAEMON_SERVED:
            assert status["mapping"]["devices_told"] == 2
        checked = host.famfs.fsck().text
        assert host.second in checked and "No errors found" in checked


def test_devadd_while_mounted(on_two: Devices) -> None:
    """Clients that are mounted take a device that is added, and have it after the next mount."""
    master, client = on_two.master.famfs, on_two.client.famfs
    # Not a device of an earlier test.
    master.run("mkfs.famfs", "--kill", "--force", *master.mkfs_options, on_two.master.second)
    master.mkfs()
    on_two.mount()
    master.put("old", b"old")
    added = master.famfs("devadd", master.mount_point, on_two.master.second)
    assert "is device 1" in added.text
    master.creat("striped", 20 * MEBI, *STRIPED, "--randomize", "--seed", "4")
    for _ in range(2):
        assert "dev: 1" in client.famfs("getmap", client.path("striped")).text
        client.famfs("verify", "--seed", "4", "--filename", client.path("striped"))
        assert client.read("old") == b"old"
        assert "No errors found" in client.fsck().text
        client.umount()
        client.mount()
    refused = client.famfs("devadd", client.mount_point, on_two.client.second, check=False)
    assert 0 < refused.returncode < 128


@pytest.mark.expects_daemon_errors("is not among")
def test_host_without_the_second_device(on_two: Devices) -> None:
    """A client that lacks the second device has the files of the first; of the others it says why
    it has not, and it has them too when the device is there again.
    """
    on_two.make()
    master, client = on_two.master.famfs, on_two.client.famfs
    master.mount()
    whole, striped = random_bytes(MEBI, seed=5), random_bytes(9 * MEBI, seed=6)
    master.put("whole", whole)
    master.put("striped", striped, *STRIPED)
    served = on_two.method == DAEMON_SERVED
    if served:
        client.mount_options = client.mount_options[:-2]  # what is named there is given a driver
    drive_second(on_two.client, "unbind")
    try:
        mounted = client.mount()
        assert "warning: files that need it answer EIO: device 1" in mounted.text
        assert client.read("whole") == whole
        assert sorted(client.tree()) == ["striped", "whole"]
        outcome = client.run("cat", client.path("striped"), check=False)
        assert outcome.returncode != 0 and "Input/output error" in outcome.text
        _, missing = on_two.client.status()["devices"]
        assert missing["state"] == "missing" and "not among" in missing["reason"]
        checked = client.fsck(check=False)
        assert checked.returncode == 4 and "device 1" in checked.text
        # The others have it all the same.
        assert master.sha256() == {"striped": sha256(striped), "whole": sha256(whole)}
    finally:
        drive_second(on_two.client, "bind")
    time.sleep(1.1)  # it is looked for once a second
    if served:
        # It is back with a driver by which the daemon moves no data; one that names it mends that.
        client.umount()
        on_two.give_verbs_their_options()
        client.mount()
    assert client.sha256() == {"striped": sha256(striped), "whole": sha256(whole)}
    assert on_two.client.status()["devices"][1]["state"] == "current"
    assert "No errors found" in client.fsck().text
