# SPDX-License-Identifier: Apache-2.0
"""Contract: an image that the reference famfs wrote, put into the shared memory of a lab, mounts in
the guests and is read whole.
"""

from __future__ import annotations

import json
import os
import subprocess
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


def load_into_memory(archive: Path, memory: Path) -> None:
    """Makes the memory equal to the image, in place: the guests have the file mapped."""
    directory = paths.run_directory() / "image"
    directory.mkdir()
    try:
        subprocess.run(["tar", "--zstd", "-xSf", str(archive), "-C", str(directory)], check=True)
        [image] = directory.iterdir()
        size = str(memory.stat().st_size)
        subprocess.run(["fallocate", "--punch-hole", "--length", size, str(memory)], check=True)
        dd = ["dd", f"if={image}", f"of={memory}", "bs=64K", "conv=sparse,notrunc", "status=none"]
        subprocess.run(dd, check=True)
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
