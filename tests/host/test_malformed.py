# SPDX-License-Identifier: Apache-2.0
"""Contract: malformed media never crashes, never misleads, never makes us write. fsck names the
field, the entry, the value found and the value allowed and exits with 4; mount refuses a bad
superblock or log header, and of a bad entry it plays everything before it.
"""

from __future__ import annotations

import errno
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from famfs_verbs import FSCK_CLEAN, FSCK_DAMAGE, MEBI, Famfs
from host.cluster import DEVICE_SIZE, Cluster
from support import selection
from support.media import ADD_DAXDEV, DELETE, Medium, medium

META_SIZE = 16 * MEBI  # superblock, log, and the little data of the sample


# What fsck calls the fields of support.media.
FIELDS = {
    "omf_major": "omf_ver_major",
    "device_size": "daxdev.size",
    "path": "relpath",
    "mkdir.path": "relpath",
    "mkdir.mode": "mode",
    "ext_type": "fmap.ext_type",
    "nextents": "fmap.nextents",
    "niext": "fmap.niext",
    "nstrips": "fmap.ie[0].nstrips",
    "chunk_size": "fmap.ie[0].chunk_size",
}
for _part in ("devindex", "offset", "len"):
    FIELDS[f"extent.{_part}"] = f"fmap.se[0].{_part}"
    FIELDS[f"extent1.{_part}"] = f"fmap.se[1].{_part}"
    FIELDS[f"strip.{_part}"] = f"fmap.ie[0].strips[0].{_part}"
    FIELDS[f"strip1.{_part}"] = f"fmap.ie[0].strips[1].{_part}"


@dataclass(frozen=True)
class Spoiled:
    """One spoilt field, its checksum mended: how it is spoilt and how fsck names it."""

    spoil: Callable[[Medium], None]
    area: str
    field: str
    found: str  # regular expressions, as are all of the words of the message
    allowed: str
    entry: int | None = None  # the entry that is bad; None: superblock or log header

    @property
    def words(self) -> tuple[str, ...]:
        return (re.escape(self.field), self.found, self.allowed)


def number(value: int) -> str:
    """Matches a number, decimal, hexadecimal or octal."""
    return rf"(?<![\w]){value}(?![\w])|0x0*{value:x}(?![\w])|(?<![\w])0{value:o}(?![\w])"


def superblock(name: str, value: int, allowed: str) -> Spoiled:
    field = FIELDS.get(name, name)
    return Spoiled(
        lambda m: m.set_superblock(name, value), "superblock", field, number(value), allowed
    )


def header(name: str, value: int, allowed: str) -> Spoiled:
    return Spoiled(lambda m: m.set_header(name, value), "log_header", name, number(value), allowed)


def entry(
    index: int,
    name: str,
    value: int | bytes,
    allowed: str,
    *,
    field: str | None = None,
    found: str | None = None,
) -> Spoiled:
    """`field` and `found`: what fsck names where that is not the spoilt field and its value."""
    if found is None:
        found = number(value) if isinstance(value, int) else re.escape(value.decode())
    return Spoiled(
        lambda m: m.set_entry(index, name, value),
        "log_entry",
        field or FIELDS.get(name, name),
        found,
        allowed,
        index,
    )


def same_as(index: int, name: str, other: int, other_name: str, found: str) -> Spoiled:
    """A field that gets the value that another one has: space that is used already."""
    return Spoiled(
        lambda m: m.set_entry(index, name, m.entry(other, other_name)),
        "log_entry",
        "fmap",
        found,
        "no file uses",
        index,
    )


def device(
    *,
    index: int = 1,
    size: int = 1 << 30,
    uuid: bytes | None = b"0123456789abcdef",
    field: str,
    found: str,
    allowed: str,
) -> Spoiled:
    """Entry 3 as one that adds a device; `uuid` None: that of the first device."""

    def spoil(m: Medium) -> None:
        known = m.superblock("device_uuid")
        m.set_entry(3, "type", ADD_DAXDEV)
        m.set_entry(3, "daxdev.size", size)
        m.set_entry(3, "daxdev.uuid", known if uuid is None else uuid)
        m.set_entry(3, "daxdev.index", index)

    return Spoiled(spoil, "log_entry", field, found, allowed, 3)


LAST = int.from_bytes(b"last", "little")  # what the name of entry 3 is as a number
HUGE = (1 << 64) - (2 << 20)  # aligned, and wraps with any length
MAP = "what the extents hold|strips hold"

# The sample: entry 0 directory d, 1 file d/one, 2 interleaved file strips, 3 file last.
BAD_ROOTS = {
    "superblock magic": superblock("magic", 0x87B282FE, "0x87b282ff"),
    "superblock version above": superblock("version", 49, "47 to 48"),
    "superblock version below": superblock("version", 46, "47 to 48"),
    "superblock crc": superblock("crc", 12345, "0x"),
    "superblock alloc_unit": superblock("alloc_unit", 8192, "4096 or 2097152"),
    "superblock alloc_unit 0": superblock("alloc_unit", 0, "4096 or 2097152"),
    "superblock omf_major": superblock("omf_major", 3, "2"),
    "superblock log_offset": superblock("log_offset", 0x400000, "2097152"),
    "superblock log_len odd": superblock("log_len", 0xC00000, "power of two"),
    "superblock log_len small": superblock("log_len", 0x400000, "from 8388608"),
    "superblock log_len huge": superblock("log_len", 1 << 63, "within the device"),
    "superblock device size": superblock("device_size", 1 << 60, "4294967296"),
    "superblock device size 0": superblock("device_size", 0, "more than 10485760"),
    "log magic": header("magic", 0xBADCAFEF00E, "0xbadcafef00d"),
    "log crc": header("crc", 99, "0x"),
    "log length": header("log_len", 1 << 40, "8388608"),
    "log last_index above": header("last_index", 20_000, "15419"),
    "log last_index below": header("last_index", 3, "15419"),
    "log next_index": header("next_index", 15_421, "0 to 15420"),
    "log next_index huge": header("next_index", HUGE, "0 to 15420"),
}
BAD_ENTRIES = {
    "entry crc": entry(3, "crc", 12345, "0x"),
    "entry seqnum": entry(3, "seqnum", 77, "3, the entry's index"),
    "extent offset 0": entry(3, "extent.offset", 0, "from 10485760"),
    "extent in the log": entry(3, "extent.offset", 4 << 20, "from 10485760"),
    "extent misaligned": entry(3, "extent.offset", (32 << 20) + 4096, "multiple of 2097152"),
    "extent beyond device": entry(3, "extent.offset", DEVICE_SIZE, "below 4294967296"),
    "extent wraps": entry(3, "extent.offset", HUGE, "below 4294967296"),
    "extent length 0": entry(3, "extent.len", 0, "2097152 to"),
    "extent length odd": entry(3, "extent.len", 21, "multiple of 2097152"),
    "extent length huge": entry(3, "extent.len", HUGE, "less the offset"),
    "devindex": entry(3, "extent.devindex", 3, "0, the only device"),
    "second extent 0": entry(3, "nextents", 2, "10485760", field="fmap.se[1].offset", found="0"),
    "overlap": same_as(3, "extent.offset", 1, "extent.offset", "'last' that overlap 'd/one'"),
    "size above map": entry(3, "size", 5 * MEBI, MAP),
    "size huge": entry(3, "size", (1 << 64) - 1, MAP),
    "size 0": entry(3, "size", 0, "1 or more"),
    "nextents 17": entry(3, "nextents", 17, "1 to 16"),
    "nextents 1000000": entry(3, "nextents", 1_000_000, "1 to 16"),
    "nextents 0": entry(3, "nextents", 0, "1 to 16"),
    "ext_type": entry(3, "ext_type", 7, "0 or 1"),
    "mode of a file": entry(3, "mode", 0o100644, "07777"),
    "niext 2": entry(2, "niext", 2, "1"),
    "niext 0": entry(2, "niext", 0, "1"),
    "nstrips 40": entry(2, "nstrips", 40, "1 to 16"),
    "nstrips huge": entry(2, "nstrips", HUGE, "1 to 16"),
    "nstrips 0": entry(2, "nstrips", 0, "1 to 16"),
    "nstrips 1": entry(2, "nstrips", 1, MAP, field="size", found=number(5 * MEBI)),
    "chunk size odd": entry(2, "chunk_size", 3 * MEBI, "power of two"),
    "chunk size 0": entry(2, "chunk_size", 0, "power of two"),
    "chunk size small": entry(2, "chunk_size", 4096, "multiple of 2097152"),
    "chunk size huge": entry(2, "chunk_size", 1 << 63, MAP, field="size", found=number(5 * MEBI)),
    "strip beyond device": entry(2, "strip.offset", DEVICE_SIZE + (2 << 20), "below 4294967296"),
    "strip offset 0": entry(2, "strip.offset", 0, "from 10485760"),
    "strip misaligned": entry(2, "strip1.offset", (32 << 20) + 512, "multiple of 2097152"),
    "strip length 0": entry(2, "strip.len", 0, "2097152 to"),
    "strip length huge": entry(2, "strip1.len", HUGE, "less the offset"),
    "strip too short": entry(2, "strip1.len", 2 << 20, MAP, field="size", found=number(5 * MEBI)),
    "strip devindex": entry(2, "strip.devindex", 9, "0, the only device"),
    "strip over a file": same_as(2, "strip.offset", 1, "extent.offset", "that overlap 'd/one'"),
    "strip over a strip": same_as(2, "strip.offset", 2, "strip1.offset", "that overlap 'strips'"),
    "absolute path": entry(3, "path", b"/etc/famfs", "relative path"),
    "empty path": entry(3, "path", b"", "relative path", found="empty"),
    "path upwards": entry(3, "path", b"../../tmp/x", "without '..'"),
    "path upwards inside": entry(3, "path", b"d/../../x", "without '..'"),
    "path of dot": entry(3, "path", b"d/./x", "relative path"),
    "path with an empty part": entry(3, "path", b"d//x", "relative path"),
    "path with NUL": entry(3, "path", b"la\0st", "NUL only after", found="NUL inside"),
    "path without NUL": entry(3, "path", b"n" * 80, "1 to 79 bytes"),
    "duplicate path": entry(3, "path", b"d/one", "no earlier entry"),
    "path of a directory": entry(3, "path", b"d", "no earlier entry", found="'d' .exists"),
    "missing parent": entry(3, "path", b"zz/f1", "an earlier entry made"),
    "file as parent": entry(3, "path", b"d/one/x", "below a directory"),
    "mkdir of no name": entry(0, "mkdir.path", b"", "relative path", found="empty"),
    "mkdir upwards": entry(0, "mkdir.path", b"../d", "without '..'"),
    "mkdir absolute": entry(0, "mkdir.path", b"/d", "relative path"),
    "mkdir without parent": entry(0, "mkdir.path", b"zz/d", "an earlier entry made"),
    "mkdir mode": entry(0, "mkdir.mode", 0o40755, "07777"),
    "devindex of none": entry(3, "extent.devindex", 24, "0 to 23"),
    "file as device": entry(
        3, "type", ADD_DAXDEV, "1 to 23", field="daxdev.index", found=number(LAST)
    ),
    "device index 0": device(index=0, field="daxdev.index", found="0", allowed="1 to 23"),
    "device index 24": device(index=24, field="daxdev.index", found="24", allowed="1 to 23"),
    "device out of order": device(index=2, field="daxdev.index", found="2", allowed="in order"),
    "device size 0": device(size=0, field="daxdev.size", found="0", allowed="4194304 or more"),
    "device of a known uuid": device(
        uuid=None, field="daxdev.uuid", found="-", allowed="not in the file system yet"
    ),
}
UNKNOWN_TYPES = {"DELETE": DELETE, "ninety-nine": 99}


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


def assert_found(report: dict[str, Any], spoiled: Spoiled) -> None:
    """The report has exactly this: area, entry, field, value found and values allowed."""
    assert report["clean"] is False
    for finding in report["findings"]:
        if (finding["area"], finding["entry"], finding["field"]) == (
            spoiled.area, spoiled.entry, spoiled.field
        ) and re.search(spoiled.found, finding["found"]):  # fmt: skip
            assert re.search(spoiled.allowed, finding["allowed"]), finding
            assert finding["severity"] == "damage"
            return
    raise AssertionError(f"{spoiled.area} {spoiled.field} is not among {report['findings']}")


def test_kinds_of_damage_are_many() -> None:
    assert len(BAD_ROOTS) + len(BAD_ENTRIES) >= 60


def test_sample_is_sound(spoilable: Cluster) -> None:
    """The sample that the other tests spoil is clean before."""
    assert spoilable.client.fsck().returncode == FSCK_CLEAN


@pytest.mark.parametrize("name", [*BAD_ROOTS, *BAD_ENTRIES])
def test_fsck_names_the_damage(spoilable: Cluster, memory: Path, name: str) -> None:
    """fsck exits with 4, names entry, field, value and what is allowed, and writes nothing."""
    spoiled = {**BAD_ROOTS, **BAD_ENTRIES}[name]
    with medium(memory) as spoilt:
        spoiled.spoil(spoilt)
    before = first_bytes(memory)
    found = spoilable.client.fsck(check=False)
    assert found.returncode == FSCK_DAMAGE, found
    assert_named(found.text, spoiled)
    told = spoilable.client.fsck("--json", check=False)
    assert told.returncode == FSCK_DAMAGE, told
    assert_found(json.loads(told.stdout), spoiled)
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
    # Without the magic it is no famfs; with it, a damaged one.
    no_famfs = BAD_ROOTS[name].field == "magic" and BAD_ROOTS[name].area == "superblock"
    assert refused.returncode == (errno.ENODATA if no_famfs else errno.EUCLEAN)
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
    assert replay.returncode == errno.EUCLEAN
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
    """Many media with a random byte changed: fsck answers 0, 1 or 4, never a signal."""
    source = random.Random(20260601)
    script = (
        'while read -r offset value; do printf "$value" | dd of="$1" bs=1 seek="$offset" '
        'conv=notrunc status=none; famfs fsck "$1" >/dev/null 2>&1; echo $?; done'
    )
    spans = [(0, 200), (0x200000, 48), (0x200000 + 48, 4 * 544)]
    lines = []
    for _ in range(100 if selection.full() else 40):
        base, length = source.choice(spans)
        lines.append(f"{base + source.randrange(length)} \\{source.randrange(256):03o}\n")
    host = spoilable.client
    codes = host.run("bash", "-c", script, "bash", str(memory), input="".join(lines).encode())
    assert set(codes.stdout.decode().split()) <= {"0", "1", "4"}
