# SPDX-License-Identifier: Apache-2.0
"""Contract: what is wrong with a file of famfs is told with its name, both hosts, their programs
and the functions of their kernels; and a file that is made and read right is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from famlab_vm.blame import BlamedLab, Finding
from famlab_vm.blame_report import as_html, as_json, as_text
from famlab_vm.coherence import Memory
from support.skips import missing_feature
from vm.coherence import require_caches
from vm.labs import LabKeeper, TestLab, together
from vm.mapping import METHODS, Probe, offers
from vm.shapes import Shape

# Each test of the suite looks for what is wrong, with BLAME=1.
pytestmark = pytest.mark.of_the_lab

MOUNTED = "/mnt/famfs"


@pytest.fixture(scope="module")
def watched(keeper: LabKeeper) -> Iterator[TestLab]:
    """Two hosts that have mounted a famfs whose files their kernels map; accesses are watched."""
    require_caches()
    with keeper.apart(Shape(dax="fsdev_dax"), memory=Memory("strict,seed=1", blame=True)) as lab:
        device = lab.devices()[0].path
        lab.hosts[0].run(["mkdir", "-p", MOUNTED])
        if not any(offers(lab.hosts[0], device, method) for method in METHODS):
            missing_feature("mapping of files", "this kernel has no method for it")
        lab.hosts[0].run(["mkfs.famfs", "--force", device])
        together(lambda host: host.run(["mkdir", "-p", MOUNTED]), lab.hosts)
        for host in lab.hosts:
            host.run(["famfs", "mount", device, MOUNTED])
        yield lab


def findings(lab: TestLab) -> list[Finding]:
    return BlamedLab.of(lab.lab.state).findings()


def test_a_file_that_is_made_and_read_is_right(watched: TestLab) -> None:
    """Also one that lies where another file system had one that this host has read."""
    master, client = watched.hosts
    for _ in range(2):
        master.run(["famfs", "creat", "--randomize", "--seed", "1", "--size", "3M",
                    f"{MOUNTED}/file"])  # fmt: skip
        client.run(["famfs", "verify", "--seed", "1", "--filename", f"{MOUNTED}/file"])
        client.run(["sha256sum", f"{MOUNTED}/file"])
        for host in watched.hosts:
            host.run(["famfs", "umount", MOUNTED])
        master.run(["mkfs.famfs", "--force", watched.devices()[0].path])
        for host in watched.hosts:
            host.run(["famfs", "mount", watched.devices()[0].path, MOUNTED])
    assert findings(watched) == []


def test_a_store_that_stays_in_the_cache_is_told_with_its_file(watched: TestLab) -> None:
    master, client = watched.hosts
    for name in ("data", "other"):
        master.run(["famfs", "creat", "--size", "8192", f"{MOUNTED}/{name}"])
    assert findings(watched) == []
    with Probe(master).hold("data", f"{MOUNTED}/data") as held:
        held.ask("store", 4096)  # through a mapping, and not flushed
        master.run(["famfs", "creat", "--size", "8192", f"{MOUNTED}/later"])
        client.run(["sh", "-c", f"until [ -e {MOUNTED}/later ]; do sleep 0.1; done"])
        client.run(["sha256sum", f"{MOUNTED}/data"])
    [found] = findings(watched)
    assert found.wrong == "store not written back"
    assert (found.host, found.other) == ("host1", "host0")
    assert found.belongs_to == "file data, offset 0x1000"
    assert (found.here.program, found.stored.program) == ("sha256sum", "mapprobe")
    assert "copy_mc_to_user" in str(found.here)  # as the kernel serves read(2)
    assert found.stored.frames[0].line.startswith("tests/guest/mapprobe/")
    assert found.announced.program == "famfsd"
    text = as_text([found])
    assert "file data" in text and "mapprobe" in text
    assert "host1" in as_html([found]) and json.loads(as_json([found]))["findings"]
