# SPDX-License-Identifier: Apache-2.0
"""Contract: what is on the medium is what the format says. A decoder that knows nothing of the
daemon reads what it wrote, and what the reference wrote, and both say the same of it.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from famfs_verbs import MEBI, Famfs, random_bytes, sha256
from host.cluster import DEVICE_SIZE, Cluster
from support import decoder, media
from support.decoder import Device, Directory, Entry, File, Image

LONGEST = "d/" + "n" * 77  # 79 bytes
CONTENT = {
    "one": random_bytes(1, seed=1),
    "d/exact": random_bytes(2 * MEBI, seed=2),
    LONGEST: random_bytes(2 * MEBI + 1, seed=3),
    "d/e/striped": random_bytes(9_000_001, seed=4),
}


def write_all(master: Famfs) -> None:
    """Every kind of entry there is."""
    master.mkdir("d")
    master.mkdir("d/e", "--mode", "0700", "--uid", "1001", "--gid", "1002")
    master.famfs("mkdir", "-p", master.path("p/q/r"))
    master.creat("created", 3 * MEBI, "--mode", "0600", "--uid", "1003", "--gid", "1004")
    striped = ("--nbuckets", "4", "--nstrips", "3", "--chunksize", "2M")
    master.creat("striped", 12 * MEBI + 1, *striped)
    for path, content in CONTENT.items():
        options = striped if path.endswith("striped") else ()
        master.put(path, content, "--mode", "0640", *options)


def lines_of(entry: Entry, index: int) -> str:
    """What `famfs logplay --dryrun -v` says of an entry."""
    if isinstance(entry, Device):
        return f"{index}: device {entry.index} uuid {entry.uuid} size {entry.size}"
    owner = f"mode {entry.mode:04o} owner {entry.uid}:{entry.gid}"
    if isinstance(entry, Directory):
        return f"{index}: directory {entry.path} {owner}"
    chunk = f" chunk {entry.chunk}" if entry.chunk else ""
    return (
        f"{index}: file {entry.path} size {entry.size} mode {entry.mode:04o} "
        f"owner {entry.uid}:{entry.gid} extents {len(entry.runs)}{chunk}"
    )


def assert_said_alike(host: Famfs, image: Image, *options: str) -> None:
    """fsck --json and logplay --dryrun of the unmounted device say what the decoder read."""
    report: dict[str, Any] = json.loads(host.fsck("--json", *options).stdout)
    assert report["clean"] is True
    superblock = report["superblock"]
    assert superblock["version"] == image.version
    assert (superblock["omf_major"], superblock["omf_minor"]) == image.omf
    assert superblock["log_len"] == image.log_length
    assert superblock["alloc_unit"] == image.unit
    assert superblock["device_size"] == report["device_size"] == image.device_size
    for name in ("fs_uuid", "device_uuid", "system_uuid"):
        assert superblock[name] == str(getattr(image, name))
    assert report["log"]["next_index"] == report["log"]["entries_used"] == len(image.entries)
    assert report["contents"] == {
        "files": len(image.files),
        "interleaved_files": len([file for file in image.files if file.chunk]),
        "directories": len(image.directories),
        "file_bytes": sum(file.size for file in image.files),
    }
    capacity = image.capacity
    assert report["space"] == {
        "capacity": capacity, "used": image.used, "free": capacity - image.used
    }  # fmt: skip
    assert [(device["index"], device["uuid"], device["size"], device["missing"])
            for device in report["further_devices"]] == [
        (device.index, str(device.uuid), device.size, None) for device in image.devices
    ]  # fmt: skip
    played = host.famfs("logplay", "--dryrun", "-v", host.device).stdout.decode().splitlines()
    assert played[:-1] == [lines_of(entry, index) for index, entry in enumerate(image.entries)]
    assert played[-1] == (
        f"{len(image.entries)} log entries: {len(image.files)} files, "
        f"{len(image.directories)} directories, 0 skipped"
    )


def assert_shadow_alike(host: Famfs, image: Image, shadow: Path) -> None:
    """The shadow tree of logplay has every map as the decoder read it."""
    shadow.mkdir()
    host.famfs("logplay", "--daxdev", host.device, "--shadow", str(shadow))
    for file in image.files:
        said = (shadow / file.path).read_text()
        devices = [int(value) for value in re.findall(r"devindex: (\d+)", said)]
        assert devices == [run.device for run in file.runs]
        offsets = [int(value, 16) for value in re.findall(r"offset: (0x[0-9a-f]+)", said)]
        lengths = [int(value, 16) for value in re.findall(r"length: (0x[0-9a-f]+)", said)]
        assert list(zip(offsets, lengths)) == [(run.offset, run.length) for run in file.runs]
        chunks = [int(value, 16) for value in re.findall(r"chunk_size: (0x[0-9a-f]+)", said)]
        assert chunks == ([file.chunk] if file.chunk else [])


def test_what_ours_writes_is_decoded(cluster: Cluster, memory: Path, directory: Path) -> None:
    """mkfs, mkdir, creat and cp, contiguous and interleaved: names, owners, maps and bytes."""
    write_all(cluster.master)
    on_client = cluster.client.sha256()
    for host in cluster.hosts:
        host.umount()
    image = decoder.decode(memory)
    assert image.version == 48 and len(image.entries) == 5 + 2 + len(CONTENT)
    # What ours adds for several devices is in no file system on one.
    assert image.devices == []
    with media.medium(memory) as medium:
        assert medium.superblock("flags") == 0
    found = {entry.path: entry for entry in image.entries if not isinstance(entry, Device)}
    assert found["d/e"] == Directory("d/e", 0o700, 1001, 1002)
    assert {"p", "p/q", "p/q/r"} <= found.keys()
    created = found["created"]
    assert isinstance(created, File) and len(created.runs) == 1
    assert (created.mode, created.uid, created.gid, created.size) == (0o600, 1003, 1004, 3 * MEBI)
    for path in ("striped", "d/e/striped"):
        striped = found[path]
        assert isinstance(striped, File) and len(striped.runs) == 3
        # One strip in each of three quarters of the device.
        assert len({run.offset // (1024 * MEBI) for run in striped.runs}) == 3
    digests = decoder.digests(image, memory)
    assert digests == on_client
    assert digests.items() >= {path: sha256(content) for path, content in CONTENT.items()}.items()
    assert_said_alike(cluster.client, image)
    assert_shadow_alike(cluster.client, image, directory / "shadow")


def test_several_devices_are_decoded(hosts: Cluster, memory: Path, directory: Path) -> None:
    """Two further devices: entries, first blocks, and the bytes of files in strips and in runs."""
    paths = [directory / "second", directory / "third"]
    for path in paths:
        with path.open("wb") as file:
            file.truncate(64 * MEBI)
    options = [word for path in paths for word in ("-o", f"daxdev={path}")]
    master = hosts.master
    master.run("mkfs.famfs", master.device, *map(str, paths))
    for host in (master, hosts.client):
        host.mount(*options)
    write_all(master)
    striped = random_bytes(9_000_001, seed=5)
    master.put("spread", striped, "--nstrips", "3", "--chunksize", "2M")
    whole = random_bytes(40 * MEBI, seed=6)
    master.creat("big", DEVICE_SIZE - 64 * MEBI)
    master.put("whole", whole)
    on_client = hosts.client.sha256(*CONTENT, "spread", "whole")
    for host in (master, hosts.client):
        host.umount()
    image = decoder.decode(memory)
    assert [device.size for device in image.devices] == [64 * MEBI, 64 * MEBI]
    found = {file.path: file for file in image.files}
    assert {run.device for run in found["spread"].runs} == {0, 1, 2}
    assert 0 not in {run.device for run in found["whole"].runs}
    digests = decoder.digests(image, memory, *paths)
    assert digests.items() >= on_client.items()
    assert (digests["spread"], digests["whole"]) == (sha256(striped), sha256(whole))
    daxdevs = [word for path in paths for word in ("--daxdev", str(path))]
    assert_said_alike(hosts.client, image, *daxdevs)
    assert_shadow_alike(hosts.client, image, directory / "shadow")


def test_longer_log_is_decoded(hosts: Cluster, memory: Path) -> None:
    hosts.master.mkfs("--loglen", "16m")
    hosts.master.mount()
    hosts.master.put("file", b"content")
    hosts.master.umount()
    image = decoder.decode(memory)
    assert image.log_length == 16 * MEBI
    assert decoder.digests(image, memory) == {"file": sha256(b"content")}
    assert_said_alike(hosts.client, image)


def test_what_the_reference_wrote_is_decoded(reference: Path, directory: Path) -> None:
    """The decoder reads the reference's image as its description says, and so do we."""
    described = json.loads(Path(str(reference).removesuffix(".img.tar.zst") + ".json").read_text())
    subprocess.run(["tar", "--zstd", "-xSf", str(reference), "-C", str(directory)], check=True)
    [path] = directory.glob("*.img")
    image = decoder.decode(path)
    assert str(image.fs_uuid) == described["fs_uuid"]
    assert str(image.system_uuid) == described["system_uuid"]
    assert len(image.entries) == described["log_entries"]
    for directory_entry in image.directories:
        facts = described["directories"][directory_entry.path]
        assert directory_entry.mode == int(facts["mode"], 8)
        assert (directory_entry.uid, directory_entry.gid) == (facts["uid"], facts["gid"])
    assert {file.path for file in image.files} == described["files"].keys()
    for file in image.files:
        facts = described["files"][file.path]
        assert (file.size, file.mode) == (facts["size"], int(facts["mode"], 8))
        runs = facts.get("extents") or facts["strips"]
        assert [[run.device, run.offset, run.length] for run in file.runs] == runs
        assert file.chunk == facts.get("chunk_size", 0)
    wanted = {name: facts["sha256"] for name, facts in described["files"].items()}
    assert decoder.digests(image, path) == wanted
    assert image.used == described["fsck"]["allocated"]
    cluster = Cluster(directory, path, "plain")
    try:
        assert_said_alike(cluster.client, image)
        assert_shadow_alike(cluster.client, image, directory / "shadow")
    finally:
        cluster.close()


@pytest.mark.parametrize("spoil", ["crc", "seqnum", "size", "extent.offset"])
def test_decoder_is_strict(hosts: Cluster, memory: Path, spoil: str) -> None:
    """A decoder that takes everything would prove nothing."""
    hosts.master.mkfs()
    hosts.master.mount()
    hosts.master.creat("file", 4096)
    hosts.master.umount()
    decoder.decode(memory)
    with media.medium(memory) as medium:
        medium.set_entry(0, spoil, 1 << 33)
    with pytest.raises(decoder.Malformed):
        decoder.decode(memory)


@pytest.fixture
def backend() -> str:
    return "plain"  # what is written is the same whatever maps it
