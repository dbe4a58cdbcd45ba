# SPDX-License-Identifier: Apache-2.0
"""Contract: what the master makes, every host has, byte for byte, with mode and owner.

Nothing is copied or announced between the hosts but the shared memory itself.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from famfs_verbs import ALLOCATION_UNIT, MEBI, Entry, Famfs, on_client, random_bytes, sha256
from host.cluster import Cluster
from support import media

SIZES = {
    "one byte": 1,
    "below a unit": 700_001,
    "a unit": ALLOCATION_UNIT,
    "above a unit": ALLOCATION_UNIT + 1,
    "many units": 9 * MEBI + 12_345,
}
INTERLEAVED = ("--nstrips", "3", "--nbuckets", "4", "--chunksize", "2M")


@pytest.mark.parametrize("size", SIZES.values(), ids=list(SIZES))
def test_contiguous_file_reads_the_same_on_the_client(
    master: Famfs, client: Famfs, size: int
) -> None:
    """A file that the master copied in is read byte for byte by the client."""
    content = random_bytes(size, seed=size)
    master.put("file", content)
    assert client.read("file") == content


def test_interleaved_file_reads_the_same_on_the_client(
    master: Famfs, client: Famfs, memory: Path
) -> None:
    """A file in three strips is one sequence of bytes on the client, across chunk borders."""
    content = random_bytes(15 * MEBI + 4321, seed=3)
    master.put("file", content, *INTERLEAVED)
    with media.medium(memory) as medium:
        index = medium.find("file")
        assert medium.entry(index, "ext_type") == media.INTERLEAVED
        assert medium.entry(index, "nstrips") == 3
        assert medium.entry(index, "chunk_size") == 2 * MEBI
    assert client.read("file") == content
    assert client.read("file", 2 * MEBI - 100, 300) == content[2 * MEBI - 100 : 2 * MEBI + 200]


def test_creat_randomize_is_verified_by_the_client(master: Famfs, client: Famfs) -> None:
    """`creat --randomize` on the master, `verify` on the client; a wrong seed is noticed."""
    master.creat("file", 3 * MEBI + 17, "--randomize", "--seed", "42")
    client.famfs("verify", "--seed", "42", "--filename", client.path("file"))
    wrong = client.famfs("verify", "--seed", "43", "--filename", client.path("file"), check=False)
    assert wrong.returncode == errno.EILSEQ


def test_tree_is_equal_everywhere(master: Famfs, client: Famfs) -> None:
    """Modes, owners, sizes and directories, but for permission to write, are the same on both."""
    master.mkdir("a", "--mode", "0750")
    master.mkdir("a/b", "--mode", "0711", "--uid", "1001", "--gid", "1002")
    master.creat("a/b/one", 4096, "--mode", "0600", "--uid", "1001", "--gid", "1002")
    master.creat("two", MEBI, "--mode", "0444")
    expected = {
        "a": Entry("d", 0o750, 0, 0, 0),
        "a/b": Entry("d", 0o711, 1001, 1002, 0),
        "a/b/one": Entry("f", 0o600, 1001, 1002, 4096),
        "two": Entry("f", 0o444, 0, 0, MEBI),
    }
    assert master.tree() == expected
    assert client.tree() == on_client(expected)


def test_mkdir_parents_makes_the_whole_path(master: Famfs, client: Famfs) -> None:
    """`mkdir -p` makes what is missing and accepts what is there."""
    master.mkdir("x/y/z", "-p")
    master.mkdir("x/y/z", "-p")
    assert sorted(client.tree()) == ["x", "x/y", "x/y/z"]
    assert master.mkdir("p/q", check=False).returncode == errno.ENOENT
    assert not client.exists("p")


def test_recursive_copy_arrives_whole(master: Famfs, client: Famfs) -> None:
    """`cp -r` of a directory gives the client the same tree and content."""
    script = "mkdir -p source/sub && seq 100000 >source/numbers && seq 9 >source/sub/few"
    master.run("sh", "-c", script)
    master.famfs("cp", "-r", "source", master.path())
    digests = client.sha256()
    numbers = "".join(f"{i}\n" for i in range(1, 100001)).encode()
    assert digests["source/numbers"] == sha256(numbers)
    assert digests["source/sub/few"] == sha256(b"1\n2\n3\n4\n5\n6\n7\n8\n9\n")
    master.run("rm", "-r", "source")


def test_creating_again_with_the_same_size_changes_nothing(master: Famfs, client: Famfs) -> None:
    """`creat` of a file that is there with this size is no operation; another size is refused."""
    content = random_bytes(MEBI, seed=8)
    master.put("file", content)
    master.creat("file", MEBI)
    assert master.creat("file", 2 * MEBI, check=False).returncode == errno.EEXIST
    assert client.read("file") == content


def test_write_of_the_client_reaches_the_master(master: Famfs, client: Famfs) -> None:
    """What a client writes into an existing file and flushes is what the master reads."""
    before = random_bytes(5 * MEBI, seed=1)
    patch = random_bytes(70_001, seed=2)
    master.put("file", before)
    assert master.read("file") == before  # the old bytes are in the master's cache now
    client.overwrite("file", 2 * MEBI - 5, patch)
    start = 2 * MEBI - 5
    assert master.read("file") == before[:start] + patch + before[start + len(patch) :]


def test_writes_in_turn_are_seen_by_the_other_side(master: Famfs, client: Famfs) -> None:
    """Master and client write in turn to the same bytes; each sees the other's last word."""
    master.put("file", bytes(4096))
    for turn in range(6):
        writer, reader = (master, client) if turn % 2 else (client, master)
        content = random_bytes(64, seed=turn)
        writer.overwrite("file", 1000, content)
        assert reader.read("file", 1000, 64) == content


def test_two_hosts_write_neighbouring_lines(master: Famfs, client: Famfs) -> None:
    """Write-back is exact: neighbours in adjacent cache lines do not overwrite each other."""
    master.put("file", bytes(4096))
    assert client.read("file") == bytes(4096)
    for line in range(0, 64, 2):
        master.overwrite("file", line * 64, b"M" * 64, flush=False)
        client.overwrite("file", (line + 1) * 64, b"C" * 64, flush=False)
    expected = (b"M" * 64 + b"C" * 64) * 32
    assert master.read("file", 0, 4096) == expected
    assert client.read("file", 0, 4096) == expected


def test_third_host_that_mounts_late_sees_everything(cluster: Cluster) -> None:
    """A host that mounts after the files were made has all of them."""
    content = random_bytes(MEBI + 1, seed=5)
    cluster.master.mkdir("d")
    cluster.master.put("d/file", content)
    late = cluster.add("late")
    late.mount()
    assert late.read("d/file") == content
    assert late.tree() == on_client(cluster.master.tree())
