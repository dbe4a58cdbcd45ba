# SPDX-License-Identifier: Apache-2.0
"""Contract: what the plugin has written down becomes places in code, and text."""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

import pytest

from famlab_vm import blame, code_places, coherence
from famlab_vm.blame import BlamedLab
from famlab_vm.blame_report import as_html, as_json, as_text
from famlab_vm.code_places import FRAME, FRAMES, SITE, SITE_BYTES, Symbols, build_id, short_name
from famlab_vm.coherence import history_file
from famlab_vm.line_owners import LineOwners

SOURCES = Path(blame.__file__).parents[1] / "noncoherent"
EVENT = struct.Struct("<QIHH")
KERNEL_CODE = 0xFFFFFFFF81000010
SECOND = 10**9
MAGIC = (0x87B282FF).to_bytes(8, "little")


def size_in(header: str, name: str) -> int:
    found = re.search(rf"sizeof\({name}\) == (\d+)", (SOURCES / header).read_text())
    assert found
    return int(found[1])


def test_structs_are_those_of_the_plugin() -> None:
    # pylint: disable=protected-access
    assert size_in("model/blame.h", "LineHistory") == blame._HISTORY_BYTES
    assert size_in("model/blame.h", "Finding") == blame._FINDING_BYTES
    assert size_in("plugin/sites.h", "SiteEntry") == SITE_BYTES
    assert coherence._SITES_BYTES == 16 + (1 << 16) * SITE_BYTES
    assert coherence._FINDINGS_BYTES == 16 + 4096 * blame._FINDING_BYTES
    assert coherence._HISTORY_BYTES_OF_A_LINE == blame._HISTORY_BYTES


def site(
    *addresses: int, file: bytes = bytes(20), code: bytes = b"", vain: int = 0
) -> bytes:
    frames = b"".join(FRAME.pack(address, address, file, code) for address in addresses)
    return (SITE.pack(file, len(addresses), 0, 0, vain) + frames).ljust(SITE_BYTES, b"\0")


def events(*known: tuple[int, int, int, int]) -> bytes:
    return b"".join(EVENT.pack(*event) for event in known).ljust(160, b"\0")


@pytest.fixture
def lab(tmp_path: Path) -> BlamedLab:
    """Two hosts with the site 1 each, and a device whose line 3 host0 has left dirty."""
    (tmp_path / "mem0").write_bytes(MAGIC + bytes(1 << 20))
    for number in range(2):
        sites = struct.pack("<QQ", 2, 0) + site() + site(KERNEL_CODE + number)
        (tmp_path / f"host{number}.sites").write_bytes(sites)
        (tmp_path / f"host{number}.findings").write_bytes(bytes(1 << 20))
    history_file(tmp_path, "mem0").write_bytes(bytes(224 * 16))
    return BlamedLab(tmp_path, ("mem0",), ("host0", "host1"), None)


def find(lab: BlamedLab, *found: bytes) -> None:
    data = struct.pack("<QQ", len(found), 0) + b"".join(found)
    (lab.memory / "host1.findings").write_bytes(data.ljust(1 << 20, b"\0"))


def finding(wrong: int, line: int, stored: int = 1) -> bytes:
    head = struct.pack("<IIQQQIIIIIxxxxQII", wrong, 0, line, 2, SECOND, 1, 0, stored, 0, 0, 0, 0, 2)
    return head + events((SECOND // 2, 1, 0, 1), (SECOND, 1, 1, 5))


def test_finding_has_both_places_and_the_events(lab: BlamedLab) -> None:
    find(lab, finding(1, 2), finding(1, 5), finding(5, 2))
    first, second = lab.findings()  # the same pair of places once
    assert (first.wrong, second.wrong) == ("stale load", "overwritten line")
    assert (first.host, first.other, first.line, first.times) == ("host1", "host0", 2, 2)
    assert first.belongs_to == "the superblock"
    assert first.here.line == f"unknown file+{KERNEL_CODE + 1:#x}"
    assert [event.what for event in first.events] == ["stored", "loaded"]
    assert len(lab.findings(once=False)) == 3
    text = as_text([first])
    assert "1. host1: stale load, 2 times: mem0 0x80, the superblock" in text
    assert "-0.500000 s  host0 stored" in text
    assert "stale load" in as_html([first, second]) and '"offset": 128' in as_json([first])
    assert as_text([]) == "nothing wrong was seen\n"


def test_what_is_legal_comes_last_with_its_reason(lab: BlamedLab) -> None:
    find(lab, finding(1, 2), finding(5, 2))
    lab.__dict__["_legal"] = {f"unknown file+{KERNEL_CODE + 1:#x}": "it is meant so"}
    text = as_text(lab.findings())
    assert text.startswith("nothing wrong was seen") and "legal: it is meant so" in text


def test_flushes_that_do_nothing_are_told_by_place(lab: BlamedLab) -> None:
    sites = [site(), site(KERNEL_CODE, vain=7), site(KERNEL_CODE, vain=5), site(KERNEL_CODE + 1)]
    (lab.memory / "host0.sites").write_bytes(struct.pack("<QQ", 4, 0) + b"".join(sites))
    [idle] = lab.flushes_in_vain()
    assert (idle.times, idle.place.line) == (12, f"unknown file+{KERNEL_CODE:#x}")
    assert "12 times: " in as_text([], [idle])


def test_what_is_never_written_back_is_found(lab: BlamedLab) -> None:
    def left(loaded: int) -> None:
        head = struct.pack("<QQQQIIHHIIIQ", 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1, SECOND)
        record = head + events((loaded, 1, 1, 5))
        history_file(lab.memory, "mem0").write_bytes(bytes(224 * 3) + record + bytes(224))

    left(2 * SECOND)
    [found] = lab.findings()
    assert (found.wrong, found.host, found.line) == ("store not written back", "host1", 3)
    left(SECOND // 2)  # before it was stored
    assert not lab.findings()


def test_file_is_known_by_its_build_id_or_its_code(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(Path(sys.executable).read_bytes())
    number = build_id(program)
    assert len(number) == 20 and number in program.read_bytes()
    assert build_id(Path(__file__)) == b""
    data = program.read_bytes()
    [(offset, address)] = [
        (one[2], one[3]) for one in code_places.segments(data) if one[0] == 1 and one[1] & 1
    ]
    place = offset + 4096 + 123
    code = data[place : place + 32]
    symbols = Symbols(None, [tmp_path])
    known = site(address + 4096 + 123, file=number)
    unknown = site(0x7F0000000000 + place % 4096, code=code)
    symbols.look_up([known, unknown, b""])
    assert symbols.place(known).program == "program"
    assert symbols.place(known).frames == symbols.place(unknown).frames
    assert str(symbols.place(b"")) == "a place that is not known"


@pytest.mark.parametrize(
    ("function", "short"),
    [
        ("main", "main"),
        ("unsigned long famfs::base::load<unsigned long>(std::span<int const, 4ul>)",
         "famfs::base::load"),
        ("(anonymous namespace)::Lines::drop(unsigned long) const", "Lines::drop"),
        ("std::function<bool ()>::operator()() const", "std::function::operator()"),
        ("famfs::media::load_fields [clone .isra.0]", "famfs::media::load_fields"),
        ("<>", "<>"),
    ],
)  # fmt: skip
def test_names_are_short(function: str, short: str) -> None:
    assert short_name(function) == short


def test_metadata_has_owners(tmp_path: Path) -> None:
    (tmp_path / "mem0").write_bytes(MAGIC + bytes(1 << 20))
    owners = LineOwners({"mem0": tmp_path / "mem0", "mem1": tmp_path / "mem1"})
    assert owners.of("mem0", 2 << 20) == "the log's header and the start of entry 0"
    assert owners.of("mem0", (2 << 20) + 48 + 544 * 3) == "entry 3 of the log"
    assert owners.of("mem0", 64) == "the superblock"
    (tmp_path / "mem1").write_bytes(bytes(1 << 20))
    assert LineOwners({"mem1": tmp_path / "mem1"}).of("mem1", 64) == ""
    assert owners.of("mem1", 0) == "" and owners.of("mem0", FRAMES << 30) == ""


def test_history_is_read_where_it_has_data(lab: BlamedLab) -> None:
    """However far apart, each line once."""
    lines = [3, 4, 100, 5000, 30_000, 30_001, 123_456]
    with history_file(lab.memory, "mem0").open("r+b") as file:
        file.truncate(224 << 20)
        for line in lines:
            head = struct.pack("<QQQQIIHHIIIQ", 0, 0, 0, 0, 0, 0, 0, 1, line, 0, 1, SECOND)
            file.seek(line * 224)
            file.write(head + events((2 * SECOND, 1, 1, 5)))
    assert [found.line for found in lab.findings(once=False)] == lines
