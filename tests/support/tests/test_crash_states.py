# SPDX-License-Identifier: Apache-2.0
"""What a record of a host comes to."""

from __future__ import annotations

import struct
from pathlib import Path

from vm.crash_states import LINE, Record, states

_RECORD = struct.Struct("<IIQQ64s")
COMMIT, SNAPSHOT, DIRTY = 1, 2, 3
ALL = (1 << 64) - 1


def line(text: str) -> bytes:
    return text.encode().ljust(LINE, b"\0")


def write(path: Path, *records: tuple[int, int, int, bytes]) -> None:
    content = [_RECORD.pack(kind, 0, number, which, text) for kind, number, which, text in records]
    path.write_bytes(path.read_bytes() + b"".join(content) if path.exists() else b"".join(content))


def lines_of(tmp_path: Path) -> list[dict[int, bytes]]:
    memory = tmp_path / "mem0"
    memory.write_bytes(bytes(16 * LINE))
    record = Record(tmp_path / "record")
    found = states({0: memory}, record.moments(), seed=1)
    return [{number: text.rstrip(b"\0") for (_, number), text in state.items()} for state in found]


def test_what_one_fence_writes_back_arrives_in_any_order(tmp_path: Path) -> None:
    write(
        tmp_path / "record",
        (SNAPSHOT, 2, 0, b""), (DIRTY, 2, ALL, line("b")), (DIRTY, 3, ALL, line("c")),
        (COMMIT, 1, ALL, line("a")), (COMMIT, 2, ALL, line("b")),
    )  # fmt: skip
    found = lines_of(tmp_path)
    expected = [
        {n: text for n, text in ((1, b"a"), (2, b"b"), (3, b"c")) if chosen >> n & 1}
        for chosen in range(0, 16, 2)
    ]
    assert len(found) == 8 and all(state in found for state in expected)
    assert found[-1] == {1: b"a", 2: b"b"}


def test_a_fence_orders(tmp_path: Path) -> None:
    """What is stored after the first one has arrived is nowhere without it."""
    write(
        tmp_path / "record",
        (SNAPSHOT, 0, 0, b""), (COMMIT, 1, ALL, line("entry")),
        (SNAPSHOT, 0, 0, b""), (COMMIT, 2, ALL, line("counter")),
    )  # fmt: skip
    assert lines_of(tmp_path) == [{}, {1: b"entry"}, {1: b"entry", 2: b"counter"}]


def test_part_of_a_line(tmp_path: Path) -> None:
    write(tmp_path / "record", (SNAPSHOT, 0, 0, b""), (COMMIT, 1, 0b10, line("ab")))
    assert lines_of(tmp_path) == [{}, {1: b"\0b"}]


def test_many_dirty_lines_are_sampled(tmp_path: Path) -> None:
    """None, all, some alone, and others by chance: always the same ones."""
    others = [(DIRTY, number, ALL, line("x")) for number in range(2, 12)]
    write(tmp_path / "record", (SNAPSHOT, 10, 0, b""), *others, (COMMIT, 1, ALL, line("a")))
    found = lines_of(tmp_path)
    assert {} in found and max(map(len, found)) == 11
    assert sum(len(state) == 1 for state in found) == 11
    assert 20 < len(found) < 40
    assert found == lines_of(tmp_path)


def test_an_operation_begins_where_the_host_is(tmp_path: Path) -> None:
    """Lines that are dirty from before may be evicted all the same."""
    write(tmp_path / "record", (SNAPSHOT, 1, 0, b""), (DIRTY, 5, ALL, line("old")))
    write(tmp_path / "record", (COMMIT, 4, ALL, line("before")))
    record = Record(tmp_path / "record")
    record.begin()
    write(tmp_path / "record", (COMMIT, 6, ALL, line("new")))
    [moment] = record.moments()
    assert moment.commit.place == (0, 6)
    assert record.left_out == 0
    write(tmp_path / "record", (SNAPSHOT, 3, 0, b""), (DIRTY, 7, ALL, line("x")))
    record.moments()
    assert record.left_out == 2, "the plugin says how many there are and records some"
    assert moment.dirty is not None and [store.place for store in moment.dirty] == [(0, 5)]
