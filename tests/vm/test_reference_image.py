# SPDX-License-Identifier: Apache-2.0
"""Contract: an image that the reference famfs wrote, put into the shared memory of a lab, mounts in
the guests and is read whole.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from famfs_verbs import Entry, on_client
from famlab_vm.machine import DaxDevice
from support import paths
from support.skips import missing_feature
from vm.cluster import Cluster
from vm.labs import TestLab
from vm.shapes import Shape


def data_ranges(file: int) -> Iterator[tuple[int, int]]:
    """Start and end of each range of a sparse file that is no hole."""
    end = 0
    while True:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return
            raise
        end = os.lseek(file, start, os.SEEK_HOLE)
        yield start, end


def load_into_memory(archive: Path, memory: Path) -> None:
    """Makes the memory equal to the image, in place: the guests have the file mapped."""
    directory = paths.run_directory() / "image"
    directory.mkdir()
    try:
        subprocess.run(["tar", "--zstd", "-xSf", str(archive), "-C", str(directory)], check=True)
        [image] = directory.iterdir()
        size = memory.stat().st_size
        subprocess.run(["fallocate", "--punch-hole", "--length", str(size), memory], check=True)
        with image.open("rb") as source, memory.open("rb+") as target:
            for start, end in data_ranges(source.fileno()):
                source.seek(start)
                target.seek(start)
                target.write(source.read(end - start))
    finally:
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()


@pytest.fixture
def archive() -> Path:
    value = os.environ.get("FAMFS_REFERENCE_IMAGE")
    if not value:
        missing_feature("reference image", "FAMFS_REFERENCE_IMAGE is not set")
    return Path(value)


@pytest.mark.shapes(topologies=("one-device",), only=True)
def test_reference_image_is_read_by_every_guest(
    lab: TestLab, devices: list[DaxDevice], shape: Shape, archive: Path
) -> None:
    """Every sha256, mode and owner is as the reference left it, on every host; fsck is clean."""
    described: dict[str, Any] = json.loads(
        Path(str(archive).removesuffix(".img.tar.zst") + ".json").read_text()
    )
    cluster = Cluster(lab, devices[0].path)
    load_into_memory(archive, lab.memory_file())
    expected = {
        name: Entry(kind, int(facts["mode"], 8), facts["uid"], facts["gid"], facts.get("size", 0))
        for kind, key in (("d", "directories"), ("f", "files"))
        for name, facts in described[key].items()
    }
    try:
        for host in cluster.all:
            host.mount()
            assert host.tree() == on_client(expected)
            assert host.sha256() == {
                name: facts["sha256"] for name, facts in described["files"].items()
            }
            host.fsck()
    finally:
        cluster.umount_all()
