# SPDX-License-Identifier: Apache-2.0
"""Contract: what one host writes another sees when both do what famfs(7) says, "Visibility", and no
host ever sees what lay in a file's place before the file. It is asked of hosts whose caches are not
coherent (MEMORY=); on others these tests show less.
"""

from __future__ import annotations

import pytest
from famfs_verbs import MEBI, Famfs, random_bytes
from vm.cluster import Cluster
from vm.mapping import DAEMON_SERVED, KINDS, Probe, make, on_both_kinds
from vm.shapes import Shape

pytestmark = [pytest.mark.shapes(dax=("fsdev_dax",), hosts=(2,))]

LONG = 8 * MEBI  # of the log by default
SIZE = 4 * MEBI
ODD = 3 * MEBI + 4567
HELD = "/run/famfs.lines"  # what a host knows of its caches

by_the_daemon = pytest.mark.parametrize("served", [DAEMON_SERVED], indirect=True)


def write(famfs: Famfs, content: bytes, *, sync: bool = False) -> None:
    famfs.overwrite("file", 0, content, flush=False, sync=sync)


@on_both_kinds
@pytest.mark.own_mount
def test_a_file_shows_nothing_of_what_lay_there(served: Cluster, shape: Shape, kind: str) -> None:
    """Hosts that have the old files in their caches read the new ones, as they were copied."""
    options = KINDS[kind]
    for seed in (1, 2, 3):
        if seed > 1:
            served.umount_all()
            served.make_and_mount()
        contents = {f"f{number}": random_bytes(ODD, 10 * seed + number) for number in range(2)}
        for name, content in contents.items():
            served.master.put(name, content, *options)
        for famfs in served.all:
            for name, content in contents.items():
                assert famfs.read(name) == content, f"{name} on {famfs.name}"


@on_both_kinds
def test_contents_of_new_files_are_seen_at_once(served: Cluster, shape: Shape, kind: str) -> None:
    """Of `famfs cp` and `famfs creat --randomize`, by all hosts and without a command."""
    content = random_bytes(ODD, 4)
    served.master.put("copied", content, *KINDS[kind])
    served.master.creat("random", ODD, "--randomize", "--seed", "5", *KINDS[kind])
    for famfs in served.all:
        assert famfs.read("copied") == content
    assert served.clients[0].read("random") == served.master.read("random")
    served.clients[0].famfs("verify", "--seed", "5", "--filename", served.clients[0].path("random"))


@on_both_kinds
@pytest.mark.parametrize("how", ["close", "fsync"])
def test_what_is_written_is_seen_after_flush(
    served: Cluster, shape: Shape, kind: str, how: str
) -> None:
    """write(2), then close(2) or fsync(2); the other host, which has older bytes, flushes."""
    served.master.put("file", random_bytes(SIZE, 1), *KINDS[kind])
    for famfs in served.all:
        famfs.read("file")
    for seed, (writer, reader) in enumerate(zip(served.all, reversed(served.all))):
        content = random_bytes(SIZE, 20 + seed)
        write(writer, content, sync=how == "fsync")
        reader.flush("file")
        assert reader.read("file") == content


def test_what_is_stored_is_seen_after_flush(
    mapped: Cluster, probes: list[Probe], shape: Shape
) -> None:
    """Stores through a mapping, then its end; the other host, which has older bytes, flushes."""
    make(mapped.master, "file", SIZE, "interleaved")
    for seed in range(1, 3):
        writer, reader = (probes[0], 1) if seed % 2 else (probes[1], 0)
        mapped.all[reader].read("file")
        writer.run("store", mapped.master.path("file"), 0, SIZE, seed)
        mapped.all[reader].flush("file")
        probes[reader].run("load", mapped.master.path("file"), 0, SIZE, seed)


def test_a_mapping_that_is_there_shows_it_after_flush(
    mapped: Cluster, probes: list[Probe], shape: Shape
) -> None:
    """What a process has mapped, and loaded, before the other host wrote."""
    make(mapped.master, "file", SIZE, "contiguous")
    client = mapped.clients[0]
    write(mapped.master, bytes([7]) * SIZE)
    offsets = (0, MEBI + 5, SIZE - 1)
    with probes[1].hold("held", client.path("file")) as held:
        assert [held.ask("load", offset) for offset in offsets] == ["7"] * 3
        write(mapped.master, bytes([9]) * SIZE)
        client.flush("file")
        assert [held.ask("load", offset) for offset in offsets] == ["9"] * 3


def test_verify_needs_no_flush(served: Cluster, shape: Shape) -> None:
    """`famfs verify` drops what its host has before it reads."""
    served.master.creat("file", SIZE, "--randomize", "--seed", "5")
    client = served.clients[0]
    for seed in ("5", "6"):
        served.master.creat("file", SIZE, "--randomize", "--seed", seed)
        client.famfs("verify", "--seed", seed, "--filename", client.path("file"))


@by_the_daemon
def test_served_read_needs_no_flush(served: Cluster, shape: Shape) -> None:
    """read(2) through the daemon invalidates; write(2) is in memory when it returns."""
    served.master.put("file", random_bytes(SIZE, 1))
    for seed, (writer, reader) in enumerate(zip(served.all, reversed(served.all))):
        reader.read("file")
        content = random_bytes(SIZE, 30 + seed)
        write(writer, content)
        assert reader.read("file") == content


@pytest.mark.own_mount
def test_a_file_shows_nothing_of_a_longer_log(mapped: Cluster, shape: Shape) -> None:
    """Of the file system that was there before, in whose place of the log the file lies."""
    master, client = mapped.all[:2]
    mapped.umount_all()
    master.run("rm", "-rf", HELD)  # where files lay, lines are dropped for their sake
    master.mkfs("--loglen", "16m")
    mapped.make_and_mount()
    master.creat("file", LONG)
    content = random_bytes(LONG, 6)
    client.overwrite("file", 0, content)
    assert master.read("file") == content
