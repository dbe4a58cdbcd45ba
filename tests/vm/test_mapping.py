# SPDX-License-Identifier: Apache-2.0
"""Contract: with every mapping method that the kernel has, a file is its shared memory: what one
host stores through a mapping another loads, read, write and mmap agree byte for byte, and programs
can do with a mapping what they do with one of any file. What needs no shared mapping holds when the
daemon serves the files, too.
"""

from __future__ import annotations

import json

import pytest
from famfs_verbs import MEBI, random_bytes
from support import paths, selection
from vm.cluster import Cluster
from vm.mapping import (
    KINDS, ODD_SIZE, Probe, counters, make, name_of_method, on_both_kinds,
)  # fmt: skip
from vm.shapes import TOPOLOGIES, Shape

pytestmark = pytest.mark.shapes(dax=("fsdev_dax",))


@on_both_kinds
def test_what_one_host_stores_another_loads(
    mapped: Cluster, probes: list[Probe], shape: Shape, kind: str
) -> None:
    """Master to client and back, through shared mappings, over the whole file and its odd end."""
    make(mapped.master, "file", ODD_SIZE, kind)
    path = mapped.master.path("file")
    probes[0].run("store", path, 0, ODD_SIZE, 1)
    probes[1].run("load", path, 0, ODD_SIZE, 1)
    probes[1].run("store", path, 2 * MEBI - 70, 4 * MEBI, 2)
    probes[0].run("load", path, 2 * MEBI - 70, 4 * MEBI, 2)
    probes[0].run("load", path, 0, 2 * MEBI - 70, 1)


@pytest.mark.shapes(dax=("fsdev_dax",), topologies=TOPOLOGIES)
def test_every_topology_maps_both_kinds(
    mapped: Cluster, probes: list[Probe], shape: Shape
) -> None:
    """However the memory is attached."""
    for kind in KINDS:
        make(mapped.master, kind, ODD_SIZE, kind)
        path = mapped.master.path(kind)
        # Start, borders of chunks, end: in some topologies memory is slow.
        ranges = [(start, 100_000) for start in (0, 2 * MEBI - 7, 6 * MEBI - 7, ODD_SIZE - 100_000)]
        for start, length in ranges:
            probes[0].run("store", path, start, length, 3)
        for start, length in ranges:
            probes[1].run("load", path, start, length, 3)
    mapped.master.fsck()


@pytest.mark.shapes(dax=("fsdev_dax",), hosts=(4,), fewest=3)
def test_four_hosts_share_a_mapping(mapped: Cluster, probes: list[Probe], shape: Shape) -> None:
    """Each host stores its own part; all load all parts."""
    make(mapped.master, "file", 8 * MEBI, "interleaved")
    path = mapped.master.path("file")
    for number, probe in enumerate(probes):
        probe.run("store", path, number * 2 * MEBI + 5, MEBI, number)
    for probe in probes:
        for number in range(len(probes)):
            probe.run("load", path, number * 2 * MEBI + 5, MEBI, number)


@pytest.mark.timeout(300)
@on_both_kinds
def test_read_write_and_mmap_agree_with_a_model(
    mapped: Cluster, probes: list[Probe], shape: Shape, kind: str
) -> None:
    """Random ranges that like the borders of pages, strips and the file; also with O_DIRECT."""
    make(mapped.master, "file", ODD_SIZE, kind)
    for number, (famfs, probe) in enumerate(zip(mapped.all[:2], probes)):
        probe.run("model", famfs.path("file"), number, selection.amount(400, 150))
        famfs.flush("file")
    mapped.master.flush("file")  # it holds what was there before the other host wrote
    first, second = (host.sha256("file") for host in mapped.all[:2])
    assert first == second


@pytest.mark.timeout(300)
@on_both_kinds
def test_read_and_write_agree_with_a_model(
    served: Cluster, probes: list[Probe], shape: Shape, kind: str
) -> None:
    """Random ranges on one host, then on another that reads what the first wrote."""
    make(served.master, "file", ODD_SIZE, kind)
    for number, (famfs, probe) in enumerate(zip(served.all[:2], probes)):
        probe.run("io-model", famfs.path("file"), number, selection.amount(200, 80))
        famfs.flush("file")
    served.master.flush("file")  # with a kernel method it holds what was there before
    first, second = (host.sha256("file") for host in served.all[:2])
    assert first == second


@on_both_kinds
def test_a_file_ends_where_it_was_made_to(
    served: Cluster, probes: list[Probe], shape: Shape, kind: str
) -> None:
    """Nothing is written behind the end, and no host can change the size."""
    make(served.master, "file", ODD_SIZE, kind)
    for probe in probes[:2]:
        probe.run("ends", served.master.path("file"))


@on_both_kinds
@pytest.mark.parametrize(
    "verb",
    ["beyond", "closed", "private", "fork", "mremap", "madvise", "sparse 7", "together 3"],
)
def test_a_program_can(
    mapped: Cluster, probes: list[Probe], shape: Shape, kind: str, verb: str
) -> None:
    """What the verb of the probe says, on the master and on a client."""
    make(mapped.master, "file", ODD_SIZE, kind)
    name, *rest = verb.split()
    for probe in probes[:2]:
        probe.run(name, mapped.master.path("file"), *rest)


@on_both_kinds
def test_large_pages_are_used(
    mapped: Cluster, probes: list[Probe], shape: Shape, kind: str
) -> None:
    """A file of whole units is mapped by large pages alone, one fault for each."""
    make(mapped.master, "file", 12 * MEBI, kind)
    mapped.master.read("file", 0, 1)  # lines of what an earlier test had there are dropped
    before = counters(probes[0].host)
    pages = int(probes[0].run("large-pages", mapped.master.path("file")).stdout)
    after = counters(probes[0].host)
    assert pages == 6
    assert after["fault_pmd"] - before["fault_pmd"] == pages
    assert after["fault_pte"] == before["fault_pte"]


def test_a_program_runs_from_the_file_system(
    served: Cluster, probes: list[Probe], shape: Shape
) -> None:
    """exec(2) of a file that the master copied, on every host."""
    program = (paths.BUILD / "guest/tests/mapprobe").read_bytes()
    served.master.put("program", program, "--mode", "0755")
    for host in served.all:
        assert host.run(host.path("program"), "hello").stdout == b"hello\n"


@pytest.mark.timeout(600)
def test_many_files_are_mapped_at_once(
    mapped: Cluster, probes: list[Probe], shape: Shape
) -> None:
    """Each has its own bytes, on the host that made them and on another."""
    count = selection.amount(1000, 250)
    mapped.master.mkdir("d")
    for start in range(0, count, 250):
        names = [f"{mapped.master.path('d')}/{i},2m" for i in range(start, start + 250)]
        words = [word for name in names for word in ("--multi", name)]
        mapped.master.famfs("creat", "--threadct", "1", *words)
    for probe in probes[:2]:
        probe.run("many", mapped.master.path("d"), count)


def test_files_come_back_after_the_caches_are_dropped(
    served: Cluster, probes: list[Probe], shape: Shape
) -> None:
    """drop_caches forgets inodes and their maps; the next open has them again."""
    content = random_bytes(3 * MEBI + 5, 4)
    served.master.put("file", content)
    for _ in range(3):
        for host in served.all:
            assert host.read("file") == content
            host.run("sh", "-c", "sync; echo 3 > /proc/sys/vm/drop_caches")


def test_one_open_costs_one_map_and_a_fault_none(
    mapped: Cluster, probes: list[Probe], shape: Shape, method: str
) -> None:
    """The kernel is told a map once; later opens, reads and faults need no more."""
    make(mapped.master, "file", 8 * MEBI, "contiguous")
    told = {"fmap": "get_fmap", "extent-map": "backing_maps"}[name_of_method(method)]
    before = counters(probes[0].host)
    mapped.master.read("file", 0, 1)
    first = counters(probes[0].host)
    # One more where lines are dropped of what an earlier test had there.
    assert first[told] - before[told] in (1, 2)
    for _ in range(3):
        probes[0].run("large-pages", mapped.master.path("file"))
    after = counters(probes[0].host)
    assert after[told] == first[told]
    assert after["fault_pmd"] - first["fault_pmd"] == 3 * 4


@pytest.mark.own_mount
def test_names_of_method_and_map_are_shown(
    mapped: Cluster, probes: list[Probe], shape: Shape, method: str
) -> None:
    """`famfs getmap` and the daemon's /status name the method and count the maps."""
    make(mapped.master, "file", 4 * MEBI, "interleaved")
    for host, probe in zip(mapped.all, probes):
        shown = host.famfs("getmap", host.path("file")).text
        assert f"method: {name_of_method(method)}\n" in shown and "strips" in shown
        words = ["getfattr", "--only-values", "-n", "user.famfs.shadow", host.mount_point]
        directory = host.run(*words).stdout.decode().strip()
        status = probe.run("get", f"{directory}/sock", "/status").stdout.decode()
        mapping = json.loads(status.partition("\r\n\r\n")[2])["mapping"]
        assert mapping["method"] == method
        assert mapping["maps_told"] == 1 and mapping["refused"] == 0
