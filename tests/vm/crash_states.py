# SPDX-License-Identifier: Apache-2.0
"""What the shared memory can hold when a host dies within an operation.

Hosts see of each other only what reaches the memory. So a host that dies leaves one of these
states: the lines that it has written back up to some moment, and any of those that were dirty then,
as its cache may have evicted them. All follow from what the plugin has recorded of the operation
(vm/noncoherent/plugin/recorder.h); nothing is killed to have them.
"""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

LINE = 64
_RECORD = struct.Struct("<IIQQ64s")
_COMMIT, _SNAPSHOT, _DIRTY = 1, 2, 3
_ALL = (1 << LINE) - 1

# All subsets of so many dirty lines are taken, of more a sample of as many.
_FEW = 4
_SAMPLE = 16

# The bytes of lines, by device and number.
Lines = dict[tuple[int, int], bytes]


@dataclass(frozen=True)
class Store:
    """Bytes of one line on their way to the memory."""

    place: tuple[int, int]
    which: int
    content: bytes

    def on(self, before: bytes) -> bytes:
        """The line as it is once they have arrived."""
        if self.which == _ALL:
            return self.content
        arrives = (self.which >> index & 1 for index in range(LINE))
        return bytes(new if it else old for it, old, new in zip(arrives, before, self.content))


@dataclass(frozen=True)
class Moment:
    """A line is about to reach the memory. `dirty`: the others that were dirty then; None if these
    are the same as before, but for those that have reached the memory.
    """

    commit: Store
    dirty: tuple[Store, ...] | None


class Record:
    """What one host's stores have come to, from some moment on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = 0
        self.left_out = 0  # dirty lines of moments() that were too many to be recorded

    def begin(self) -> None:
        """From here on."""
        self._start = self._path.stat().st_size

    def moments(self) -> list[Moment]:
        """All of them, in order."""
        content = self._path.read_bytes()
        found: list[Moment] = []
        dirty: dict[tuple[int, int], list[Store]] = {}  # of each line the oldest first
        changed = False
        self.left_out = 0
        for offset in range(0, len(content), _RECORD.size):
            kind, device, line, which, stored = _RECORD.unpack_from(content, offset)
            store = Store((device, line), which, stored)
            if kind == _SNAPSHOT:
                dirty = {place: stores for place, stores in dirty.items() if place[0] != device}
                changed = True
                self.left_out += line if offset >= self._start else 0
            elif kind == _DIRTY:
                dirty.setdefault(store.place, []).append(store)
                self.left_out -= offset >= self._start
            elif kind == _COMMIT:
                waiting = dirty.get(store.place, [])
                if store in waiting:
                    waiting.remove(store)
                if offset >= self._start:
                    others = None
                    if changed or not found:
                        others = tuple(itertools.chain.from_iterable(dirty.values()))
                    found.append(Moment(store, others))
                    changed = False
            else:
                raise ValueError(f"{self._path}: record at {offset} is of kind {kind}")
        return found


class _Memory:
    """The shared memory as it was when the operation began, and what differs from that."""

    def __init__(self, before: dict[int, Path]) -> None:
        self._files = {number: path.open("rb") for number, path in before.items()}
        self.differing: Lines = {}

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _before(self, place: tuple[int, int]) -> bytes:
        device, line = place
        self._files[device].seek(line * LINE)
        return self._files[device].read(LINE)

    def take(self, store: Store) -> None:
        """A line arrives."""
        before = self._before(store.place)
        line = store.on(self.differing.get(store.place, before))
        if line == before:
            self.differing.pop(store.place, None)
        else:
            self.differing[store.place] = line

    def and_also(self, evicted: tuple[Store, ...]) -> Lines:
        """As it would be if these had arrived too."""
        kept = dict(self.differing)
        for store in evicted:
            self.take(store)
        found, self.differing = self.differing, kept
        return found


def _subsets(dirty: tuple[Store, ...], chance: random.Random) -> Iterator[tuple[Store, ...]]:
    if len(dirty) <= _FEW:
        for count in range(len(dirty) + 1):
            yield from itertools.combinations(dirty, count)
        return
    yield ()
    yield dirty
    for store in chance.sample(dirty, _SAMPLE) if len(dirty) > _SAMPLE else dirty:
        yield (store,)
    for _ in range(_SAMPLE):
        yield tuple(store for store in dirty if chance.random() < 0.5)


def states(before: dict[int, Path], moments: list[Moment], seed: int) -> list[Lines]:
    """Each state once, in the order in which they can come to be; the last is that of the end.

    `before`: files with the memory of each device as the operation found it.
    """
    with closing(_Memory(before)) as memory:
        return _states(memory, moments, random.Random(seed))


def _states(memory: _Memory, moments: list[Moment], chance: random.Random) -> list[Lines]:
    found: dict[frozenset[tuple[tuple[int, int], bytes]], Lines] = {}

    def add(lines: Lines) -> None:
        found.setdefault(frozenset(lines.items()), lines)

    for moment in moments:
        # What the commits of one fence come to one by one is among the subsets, if all are taken.
        if moment.dirty is not None:
            for evicted in _subsets((moment.commit, *moment.dirty), chance):
                add(memory.and_also(evicted))
        memory.take(moment.commit)
        add(dict(memory.differing))
    end = dict(memory.differing)
    found.pop(frozenset(end.items()), None)
    add(end)
    return list(found.values())
