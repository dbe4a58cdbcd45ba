# SPDX-License-Identifier: Apache-2.0
"""Contract: malformed media never crashes, never misleads, never makes us write. fsck names the
field, the entry, the value found and the value allowed and exits with 4; mount refuses a bad
superblock or log header, and of a bad entry it plays everything before it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from famfs_verbs import FSCK_CLEAN, FSCK_DAMAGE, MEBI, Famfs
from host.cluster import DEVICE_SIZE, Cluster
from support.media import ADD_DAXDEV, DELETE, Medium, medium

META_SIZE = 16 * MEBI  # superblock, log, and the little data of the sample


@dataclass(frozen=True)
class Spoiled:
    """One spoilt field: how it is spoilt and which words the message must have."""

    spoil: Callable[[Medium], None]
    words: tuple[str, ...]  # regular expressions, all of which must be found
    entry: int | None = None  # the entry that is bad; None: superblock or log header


def number(value: int) -> str:
    """Matches a number, decimal or hexadecimal."""
    return rf"(?<![\w]){value}(?![\w])|0x0*{value:x}(?![\w])"


def superblock(name: str, value: int, *words: str) -> Spoiled:
    return Spoiled(lambda m: m.set_superblock(name, value), (*words, number(value)))


def header(name: str, value: int, *words: str) -> Spoiled:
    return Spoiled(lambda m: m.set_header(name, value), (*words, number(value)))


def entry(index: int, name: str, value: int | bytes, *words: str) -> Spoiled:
    shown = (number(value),) if isinstance(value, int) else ()
    return Spoiled(lambda m: m.set_entry(index, name, value), (*words, *shown), entry=index)


# The sample: entry 0 directory d, 1 file d/one, 2 interleaved file strips, 3 file last.
BAD_ROOTS = {
    "superblock magic": superblock("magic", 0x87B282FE, "magic"),
    "superblock version": superblock("version", 49, "version", "48"),
    "superblock crc": superblock("crc", 12345, "crc|checksum"),
    "superblock alloc_unit": superblock("alloc_unit", 8192, "alloc"),
    "superblock omf_major": superblock("omf_major", 3, "omf|major"),
    "superblock log_offset": superblock("log_offset", 0x400000, "log_offset|log offset"),
    "superblock log_len": superblock("log_len", 0x700000, "log_len|log len"),
    "superblock device size": superblock("device_size", 1 << 60, "size"),
    "log magic": header("magic", 0xBADCAFEF00E, "magic"),
    "log crc": header("crc", 99, "crc|checksum"),
    "log length": header("log_len", 1 << 40, "log_len|log len"),
    "log last_index": header("last_index", 20_000, "last_index|last index", "15419"),
    "log next_index": header("next_index", 15_421, "next_index|next index", "15420"),
}
BAD_ENTRIES = {
    "entry crc": entry(3, "crc", 12345, "crc|checksum"),
    "entry seqnum": entry(3, "seqnum", 77, "seqnum"),
    "extent offset 0": entry(3, "extent.offset", 0, "offset"),
    "extent misaligned": entry(3, "extent.offset", (32 << 20) + 4096, "offset"),
    "extent beyond device": entry(3, "extent.offset", DEVICE_SIZE, "extent|offset"),
    "extent wraps": entry(3, "extent.offset", (1 << 64) - (2 << 20), "extent|offset"),
    "devindex": entry(3, "extent.devindex", 3, "dev"),
    "overlap": Spoiled(
        lambda m: m.set_entry(3, "extent.offset", m.entry(1, "extent.offset")),
        ("overlap|collision|already",),
        entry=3,
    ),
    "size above map": entry(3, "size", 5 * MEBI, "size"),
    "size 0": entry(3, "size", 0, "size"),
    "nextents 17": entry(3, "nextents", 17, "extents", "16"),
    "nextents 1000000": entry(3, "nextents", 1_000_000, "extents", "16"),
    "nextents 0": entry(3, "nextents", 0, "extents"),
    "ext_type": entry(3, "ext_type", 7, "ext_type|extent type|map type"),
    "nstrips": entry(2, "nstrips", 40, "strips", "16"),
    "nstrips 0": entry(2, "nstrips", 0, "strips"),
    "chunk size": entry(2, "chunk_size", 3 * MEBI, "chunk"),
    "strip beyond device": entry(2, "strip.offset", DEVICE_SIZE + (2 << 20), "strip|offset"),
    "strip devindex": entry(2, "strip.devindex", 9, "dev"),
    "absolute path": entry(3, "path", b"/etc/famfs", "path", "/etc/famfs"),
    "empty path": entry(3, "path", b"", "path"),
    "path upwards": entry(3, "path", b"../../tmp/x", "path", r"\.\./"),
    "path upwards inside": entry(3, "path", b"d/../../x", "path", r"\.\./"),
    "path with NUL": entry(3, "path", b"la\0st", "path|NUL"),
    "path without NUL": entry(3, "path", b"n" * 80, "path"),
    "duplicate path": entry(3, "path", b"d/one", "d/one"),
    "missing parent": entry(3, "path", b"zz/f1", "zz"),
    "file as parent": entry(3, "path", b"d/one/x", "d/one"),
    "mkdir of no name": entry(0, "mkdir.path", b"", "path"),
}
UNKNOWN_TYPES = {"DELETE": DELETE, "ninety-nine": 99, "ADD_DAXDEV": ADD_DAXDEV}


@pytest.fixture(scope="module")
def sample() -> list[bytes]:
    """Where the sample's bytes are kept between the tests; filled by the first one."""
    return []


@pytest.fixture
def spoilable(hosts: Cluster, memory: Path, sample: list[bytes]) -> Cluster:
    """A sound file system with four entries, unmounted, ready to be spoilt."""
    master = hosts.master
    if not sample:
        master.mkfs()
        master.mount()
        master.mkdir("d")
        master.creat("d/one", 4096)
        master.creat("strips", 5 * MEBI, "--nstrips", "2", "--nbuckets", "4", "--chunksize", "2M")
        master.creat("last", 2 * MEBI)
        master.umount()
        with memory.open("rb") as file:
            sample.append(file.read(META_SIZE))
    with memory.open("r+b") as file:
        file.write(sample[0])
    return hosts


@pytest.fixture
def backend() -> str:
    return "plain"  # media is judged the same whatever maps it


def assert_named(text: str, spoiled: Spoiled) -> None:
    for word in spoiled.words:
        assert re.search(word, text, re.IGNORECASE), f"{word!r} is not in the message:\n{text}"
    if spoiled.entry is not None:
        assert re.search(rf"\b{spoiled.entry}\b", text), f"entry {spoiled.entry} not named:\n{text}"


def test_sample_is_sound(spoilable: Cluster) -> None:
    """The sample that the other tests spoil is clean before."""
    assert spoilable.client.fsck().returncode == FSCK_CLEAN


@pytest.mark.parametrize("name", [*BAD_ROOTS, *BAD_ENTRIES])
def test_fsck_names_the_damage(spoilable: Cluster, memory: Path, name: str) -> None:
    """fsck exits with 4, names the field and its values, and writes nothing."""
    spoiled = {**BAD_ROOTS, **BAD_ENTRIES}[name]
    with medium(memory) as spoilt:
        spoiled.spoil(spoilt)
    before = first_bytes(memory)
    found = spoilable.client.fsck(check=False)
    assert found.returncode == FSCK_DAMAGE, found
    assert_named(found.text, spoiled)
    assert first_bytes(memory) == before


def first_bytes(memory: Path) -> bytes:
    with memory.open("rb") as file:
        return file.read(META_SIZE)


@pytest.mark.parametrize("name", BAD_ROOTS)
def test_mount_refuses_a_bad_root(spoilable: Cluster, memory: Path, name: str) -> None:
    """mount of a bad superblock or log header fails, says why, and leaves nothing mounted."""
    with medium(memory) as spoilt:
        BAD_ROOTS[name].spoil(spoilt)
    refused = spoilable.client.mount(check=False)
    assert 0 < refused.returncode < 128 and refused.returncode != 99
    assert_named(refused.text, BAD_ROOTS[name])
    assert not Path(spoilable.client.mount_point).is_mount()


@pytest.mark.expects_daemon_errors("entry")
@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_mount_plays_what_is_before_a_bad_entry(
    spoilable: Cluster, memory: Path, name: str
) -> None:
    """Of a bad entry, mount shows what was before it, says so, and never writes."""
    spoiled = BAD_ENTRIES[name]
    with medium(memory) as spoilt:
        spoiled.spoil(spoilt)
    before = first_bytes(memory)
    client = spoilable.client
    mounted = client.mount()
    names = ["d", "d/one", "strips", "last"][: spoiled.entry]
    assert sorted(client.tree()) == sorted(names)
    replay = client.logplay("--dryrun", check=False)
    assert replay.returncode != 0
    assert_named(mounted.text + replay.text, spoiled)
    assert first_bytes(memory) == before


@pytest.mark.parametrize("name", UNKNOWN_TYPES)
def test_unknown_entry_type_is_reported_and_skipped(
    spoilable: Cluster, memory: Path, name: str
) -> None:
    """An entry of a type that we do not know is skipped; what follows it is played."""
    with medium(memory) as spoilt:
        spoilt.set_entry(2, "type", UNKNOWN_TYPES[name])
    client: Famfs = spoilable.client
    client.mount()
    assert sorted(client.tree()) == ["d", "d/one", "last"]
    client.umount()
    found = client.fsck(check=False)
    assert "type" in found.text and re.search(r"\b2\b", found.text)


def test_random_bytes_never_crash(spoilable: Cluster, memory: Path) -> None:
    """A hundred media with a random byte changed: fsck answers 0, 1 or 4, never a signal."""
    source = random.Random(20260601)
    script = (
        'while read -r offset value; do printf "$value" | dd of="$1" bs=1 seek="$offset" '
        'conv=notrunc status=none; famfs fsck "$1" >/dev/null 2>&1; echo $?; done'
    )
    spans = [(0, 200), (0x200000, 48), (0x200000 + 48, 4 * 544)]
    lines = []
    for _ in range(100):
        base, length = source.choice(spans)
        lines.append(f"{base + source.randrange(length)} \\{source.randrange(256):03o}\n")
    host = spoilable.client
    codes = host.run("bash", "-c", script, "bash", str(memory), input="".join(lines).encode())
    assert set(codes.stdout.decode().split()) <= {"0", "1", "4"}
