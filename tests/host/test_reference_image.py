# SPDX-License-Identifier: Apache-2.0
"""Contract: what the reference famfs wrote, we read: content, modes and owners."""

from __future__ import annotations

import errno
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from famfs_verbs import Entry, Famfs, on_client
from host.cluster import Cluster


@pytest.fixture
def description(reference: Path) -> dict[str, Any]:
    """What the image is known to hold."""
    beside = Path(str(reference).removesuffix(".img.tar.zst") + ".json")
    content: dict[str, Any] = json.loads(beside.read_text())
    return content


@pytest.fixture
def image(reference: Path, directory: Path) -> Path:
    """The unpacked image: a sparse file of 4 GiB."""
    subprocess.run(["tar", "--zstd", "-xSf", str(reference), "-C", str(directory)], check=True)
    [path] = directory.glob("*.img")
    return path


@pytest.fixture
def reader(image: Path, directory: Path, backend: str) -> Iterator[Famfs]:
    """A host that mounts the image; not the one that made it, so a client."""
    cluster = Cluster(directory, image, backend)
    yield cluster.client
    cluster.close()


def expected_tree(description: dict[str, Any]) -> dict[str, Entry]:
    tree = {}
    for kind, key in (("d", "directories"), ("f", "files")):
        for name, facts in description[key].items():
            tree[name] = Entry(
                kind, int(facts["mode"], 8), facts["uid"], facts["gid"], facts.get("size", 0)
            )
    return tree


def test_reference_image_is_read_whole(reader: Famfs, description: dict[str, Any]) -> None:
    """Every file's sha256, every mode and owner is as the reference left it, for a client."""
    reader.mount()
    assert reader.tree() == on_client(expected_tree(description))
    digests = {name: facts["sha256"] for name, facts in description["files"].items()}
    assert reader.sha256() == digests


def test_reference_image_is_clean(reader: Famfs, description: dict[str, Any]) -> None:
    """fsck, by device and by mount point, finds nothing wrong and the same numbers."""
    facts = description["fsck"]
    for _ in range(2):
        said = reader.fsck().text
        for line, value in (("Device capacity", facts["capacity"]), ("Free space", facts["free"])):
            [found] = [text for text in said.splitlines() if line in text]
            assert str(value) in found.split()
        reader.mounted or reader.mount()


def test_reference_image_may_be_written_by_nobody_but_its_master(reader: Famfs) -> None:
    """The image's master is another host: creating a file here is refused."""
    reader.mount()
    refused = reader.creat("new", 4096, check=False)
    assert refused.returncode == errno.EROFS
    assert "master" in refused.text


def test_host_with_the_identity_of_the_master_may_write(
    image: Path, directory: Path, backend: str, description: dict[str, Any]
) -> None:
    """The host whose system uuid is in the superblock is master: it appends to this log."""
    cluster = Cluster(directory, image, backend)
    try:
        machine = cluster.machine(cluster.master)
        (machine.directory / "system_uuid").write_text(description["system_uuid"] + "\0")
        cluster.mount_all()
        cluster.master.put("docs/ours", b"appended")
        assert cluster.client.read("docs/ours") == b"appended"
        digests = {name: facts["sha256"] for name, facts in description["files"].items()}
        assert digests.items() <= cluster.client.sha256().items()
        cluster.client.fsck()
    finally:
        cluster.close()
