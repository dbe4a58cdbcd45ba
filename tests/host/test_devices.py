# SPDX-License-Identifier: Apache-2.0
"""Contract: a file system on several devices is the same on all hosts, whatever names the devices
have there; what a missing device holds answers EIO and is told, and everything else works.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from famfs_verbs import FSCK_DAMAGE, MEBI, MKFS_REFUSED, MKFS_USAGE, Famfs, random_bytes
from host.cluster import DEVICE_SIZE, Cluster
from support import media

SECOND_SIZE = 1024 * MEBI
STRIPED = ("--nstrips", "2", "--nbuckets", "2", "--chunksize", "2M")


@dataclass
class Devices:
    """A cluster whose hosts see a second device under names of their own."""

    cluster: Cluster
    second: Path  # as the master names it
    elsewhere: Path  # the client's directory of devices

    @property
    def master(self) -> Famfs:
        return self.cluster.master

    @property
    def client(self) -> Famfs:
        return self.cluster.client

    def mount(self) -> None:
        self.master.mount("-o", f"daxdev={self.second}")
        self.client.mount("-o", f"daxdev={self.elsewhere}")

    def fsck(self) -> str:
        return self.master.fsck("--daxdev", str(self.second)).text


@pytest.fixture
def devices(hosts: Cluster, directory: Path) -> Devices:
    """Nothing is made or mounted yet."""
    second = directory / "second"
    with second.open("wb") as file:
        file.truncate(SECOND_SIZE)
    elsewhere = directory / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "an other file").write_bytes(b"nothing")
    os.link(second, elsewhere / "dax7.3")
    return Devices(hosts, second, elsewhere)


def make(devices: Devices) -> None:
    # Not the verb: it names one device.
    devices.master.run("mkfs.famfs", "--force", devices.master.device, str(devices.second))


def second_state(famfs: Famfs) -> dict[str, object]:
    """What the host says of the second device, in the attribute and on the socket alike."""
    run_dir = os.getxattr(famfs.mount_point, "user.famfs.shadow").decode()
    words = ["curl", "-s", "--unix-socket", f"{run_dir}/sock", "http://localhost/status"]
    told = json.loads(famfs.run(*words).stdout)["devices"]
    assert told == json.loads(os.getxattr(famfs.mount_point, "user.famfs.devices"))
    assert [device["index"] for device in told] == [0, 1]
    second: dict[str, object] = told[1]
    return second


def test_striped_file_reads_the_same_everywhere(devices: Devices, memory: Path) -> None:
    """One strip on each device; the client finds the second one in a directory, by its uuid."""
    make(devices)
    devices.mount()
    content = random_bytes(11 * MEBI + 77, seed=1)
    devices.master.put("striped", content, *STRIPED)
    with media.medium(memory) as medium:
        assert medium.entry(0, "type") == media.ADD_DAXDEV
        assert medium.entry(0, "daxdev.index") == 1
        assert medium.entry(0, "daxdev.size") == SECOND_SIZE
        assert medium.superblock("flags") == 0
        index = medium.find("striped")
        first = medium.entry(index, "strip.devindex")
        assert medium.entry(index, "nstrips") == 2
        uuid = medium.entry(0, "daxdev.uuid")
    with media.medium(devices.second) as second:
        assert second.superblock("flags") == 2
        assert second.superblock("log_len") == 0
        assert second.superblock("device_uuid") == uuid
    assert first in (0, 1)
    assert devices.client.read("striped") == content
    patch = random_bytes(3 * MEBI, seed=2)
    devices.client.overwrite("striped", MEBI, patch)
    content = content[:MEBI] + patch + content[4 * MEBI :]
    assert devices.master.read("striped") == content
    assert "No errors" in devices.fsck()
    numbers = os.statvfs(devices.client.mount_point)
    assert numbers.f_blocks * numbers.f_frsize == DEVICE_SIZE + SECOND_SIZE


def test_large_files_fall_to_the_device_with_room(devices: Devices) -> None:
    """When the first device is full, new files are on the second one."""
    make(devices)
    devices.mount()
    devices.master.creat("big", DEVICE_SIZE - 12 * MEBI)
    content = random_bytes(5 * MEBI, seed=3)
    devices.master.put("more", content)
    assert "dev: 1" in devices.master.famfs("getmap", devices.master.path("more")).text
    assert devices.client.read("more") == content
    assert "No errors" in devices.fsck()


def chunk_errors(path: str) -> list[int]:
    """What reading in each of the first two chunks comes to: an errno, or 0."""
    errors = []
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for offset in (0, 2 * MEBI):
            try:
                assert len(os.pread(descriptor, 4096, offset)) == 4096
                errors.append(0)
            except OSError as error:
                errors.append(error.errno or -1)
    finally:
        os.close(descriptor)
    return errors


@pytest.mark.expects_daemon_errors("is not among")
def test_missing_device(devices: Devices) -> None:
    """Without the second device its files answer EIO and say why; the others work."""
    make(devices)
    devices.mount()
    striped = random_bytes(9 * MEBI, seed=4)
    whole = random_bytes(MEBI, seed=5)
    devices.master.put("striped", striped, *STRIPED)
    devices.master.put("whole", whole)
    devices.client.umount()
    hidden = devices.elsewhere.parent / "hidden"
    (devices.elsewhere / "dax7.3").rename(hidden)

    outcome = devices.client.mount("-o", f"daxdev={devices.elsewhere}")
    assert "EIO" in outcome.text and "device 1" in outcome.text
    assert devices.client.read("whole") == whole
    assert sorted(devices.client.tree()) == ["striped", "whole"]
    assert sorted(chunk_errors(devices.client.path("striped"))) == [0, errno.EIO]
    state = second_state(devices.client)
    assert (state["state"], state["name"]) == ("missing", None)
    assert "not among" in str(state["reason"])
    checked = devices.client.fsck(check=False)
    assert checked.returncode == FSCK_DAMAGE
    assert re.search("device 1", checked.text)
    report = json.loads(devices.client.fsck("--json", check=False).stdout)
    (missing,) = report["further_devices"]
    assert (missing["index"], missing["path"]) == (1, None) and "not among" in missing["missing"]
    assert [finding["area"] for finding in report["findings"]] == ["device"]

    # It comes back while mounted.
    hidden.rename(devices.elsewhere / "dax0.0")
    time.sleep(1.1)
    assert devices.client.read("striped") == striped
    state = second_state(devices.client)
    assert (state["state"], state["size"]) == ("current", SECOND_SIZE)
    assert state["name"] == str(devices.elsewhere / "dax0.0")


@pytest.mark.parametrize("mounted", [True, False], ids=["mounted", "unmounted"])
def test_devadd(devices: Devices, mounted: bool) -> None:
    """A device added later is taken by clients that were mounted before."""
    master, client = devices.master, devices.client
    master.mkfs()
    old = random_bytes(MEBI, seed=6)
    if mounted:
        devices.mount()
        master.put("old", old)
        master.famfs("devadd", master.mount_point, str(devices.second))
    else:
        master.famfs("devadd", master.device, str(devices.second))
        devices.mount()
        master.put("old", old)
    content = random_bytes(8 * MEBI, seed=7)
    master.put("new", content, *STRIPED)
    assert client.read("new") == content
    assert client.read("old") == old
    again = master.famfs("devadd", "--force", master.mount_point, str(devices.second), check=False)
    assert again.returncode == errno.EEXIST and "already" in again.text
    refused = client.famfs("devadd", client.mount_point, str(devices.second), check=False)
    assert refused.returncode == errno.EROFS and "master" in refused.text
    assert "No errors" in devices.fsck()


def test_devices_in_use_are_refused(devices: Devices, directory: Path) -> None:
    """mkfs takes no second device of another file system or mount, and none twice."""
    make(devices)
    master = devices.master
    other = directory / "other"
    with other.open("wb") as file:
        file.truncate(DEVICE_SIZE)
    for words, word, code in (
        ((str(other), str(devices.second)), "further device", MKFS_REFUSED),
        ((str(other), str(other)), "twice", MKFS_USAGE),
        ((str(devices.second),), "bytes", MKFS_USAGE),
    ):
        refused = master.run("mkfs.famfs", *words, check=False)
        assert refused.returncode == code, refused
        assert word in refused.text
    devices.mount()
    refused = master.run("mkfs.famfs", "--force", str(other), str(devices.second), check=False)
    assert refused.returncode == MKFS_REFUSED and "mounted" in refused.text
    named = master.famfs("mount", str(devices.second), str(directory), check=False)
    assert named.returncode == errno.EUCLEAN and "SECONDARY" in named.text
