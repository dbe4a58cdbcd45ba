# SPDX-License-Identifier: Apache-2.0
"""What the hosts of a lab did wrong with memory that is not coherent, as the plugin wrote it."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from famlab_vm.code_places import SITE, SITE_BYTES, Place, Symbols
from famlab_vm.coherence import history_file
from famlab_vm.line_owners import LineOwners
from famlab_vm.paths import REPOSITORY, kernel_with_symbols
from famlab_vm.state import LabState, lab_directory

# As in vm/noncoherent/model/blame.h: enum Wrong, enum Kind, and the structs.
WRONG = {
    1: "stale load",
    2: "store not written back",
    3: "write-back without a fence",
    4: "announcement that overtook its data",
    5: "overwritten line",
}
_NOT_WRITTEN_BACK = 2
_NOT_FENCED = 3
_LOADED = 5
_EVENTS = {1: "stored", 2: "flushed", 3: "reached the device", 4: "fetched", 5: "loaded"}
_KEPT_EVENTS = 10
_LEGAL = REPOSITORY / "vm" / "noncoherent" / "legal.yaml"
_EVENT = struct.Struct("<QIHH")
_FINDING = struct.Struct("<IIQQQIIIIIxxxxQII")
_HEADER = struct.Struct("<QQ")
_HISTORY = struct.Struct("<QQQQIIHHIIIQ")
_HISTORY_BYTES = _HISTORY.size + _KEPT_EVENTS * _EVENT.size
_FINDING_BYTES = _FINDING.size + _KEPT_EVENTS * _EVENT.size
_LINE_BYTES = 64
_LINES_AT_ONCE = 4096


@dataclass(frozen=True)
class Event:
    """Something that a host did with a line. `seconds` are of this machine's monotonic clock."""

    seconds: float
    host: str
    what: str
    place: Place


@dataclass(frozen=True)
class Finding:
    """Two places in code that do not go together, or one."""

    wrong: str
    host: str
    device: str
    line: int
    belongs_to: str
    times: int
    here: Place
    other: str
    stored: Place
    flushed: Place
    announced: Place
    events: tuple[Event, ...]
    legal: str = ""  # why it is all the same

    @property
    def offset(self) -> int:
        """Of the line on the device, in bytes."""
        return self.line * _LINE_BYTES


@dataclass(frozen=True)
class FlushesInVain:
    """Flushes of lines that were not dirty, or not in the cache, from one place in code."""

    times: int
    place: Place


@dataclass(frozen=True)
class BlamedLab:
    """Where a lab's files are. `devices` in the order of the topology."""

    memory: Path
    devices: tuple[str, ...]
    hosts: tuple[str, ...]
    kernel: Path | None  # with symbols
    programs: tuple[Path, ...] = ()  # directories of what hosts execute, beside famlab's own

    @classmethod
    def of(cls, state: LabState, programs: Sequence[Path] = ()) -> BlamedLab:
        """Return that of a lab whose memory has `blame`."""
        return cls(
            lab_directory(state.name) / "memory",
            tuple(device.name for device in state.topology.devices), tuple(state.hosts),
            kernel_with_symbols(state.artifacts.kernel), tuple(programs),
        )  # fmt: skip

    def findings(self, once: bool = True) -> list[Finding]:
        """Return them all, those that were seen first before others, and legal ones last. `once`:
        one for each pair of lines of source, wherever in the memory it was.
        """
        raw = sorted([*self._told(), *self._never_written_back()], key=lambda one: one.time)
        self._symbols.look_up(self._site(*site) for one in raw for site in one.sites())
        owners = LineOwners({name: self.memory / name for name in self.devices})
        found: dict[tuple[object, ...], Finding] = {}
        for number, one in enumerate(raw):
            finding = self._finding(one, owners)
            key = (finding.wrong, finding.host, finding.here.line, finding.other,
                   finding.stored.line)  # fmt: skip
            found.setdefault(key if once else (number,), finding)
        return sorted(found.values(), key=lambda one: bool(one.legal))

    @cached_property
    def _legal(self) -> dict[str, str]:
        import yaml  # takes 30 ms to import

        known: dict[str, str] = yaml.safe_load(_LEGAL.read_text())
        return known

    def flushes_in_vain(self) -> list[FlushesInVain]:
        """Return them for each line of source, of all hosts, the most frequent first."""
        sites = [
            (SITE.unpack_from(data)[-1], data)
            for host in range(len(self.hosts)) for data in self._all_sites(host)
        ]  # fmt: skip
        idle = [(times, data) for times, data in sites if times]
        self._symbols.look_up(data for _, data in idle)
        found: dict[str, FlushesInVain] = {}
        for times, data in sorted(idle, key=lambda one: one[0], reverse=True):
            place = self._symbols.place(data)
            so_far = found.get(place.line, FlushesInVain(0, place))
            found[place.line] = FlushesInVain(so_far.times + times, so_far.place)
        return sorted(found.values(), key=lambda one: one.times, reverse=True)

    def _all_sites(self, host: int) -> Iterator[bytes]:
        records = _records(self.memory / f"{self.hosts[host]}.sites", SITE_BYTES)
        return islice(records, 1, None)  # number 0 is not used

    @cached_property
    def _symbols(self) -> Symbols:
        return Symbols(self.kernel, self.programs)

    def _site(self, host: int, number: int) -> bytes:
        if number == 0:
            return b""
        path = self.memory / f"{self.hosts[host]}.sites"
        return _read(path, _HEADER.size + number * SITE_BYTES, SITE_BYTES)

    def _place(self, host: int, number: int) -> Place:
        return self._symbols.place(self._site(host, number))

    def _told(self) -> Iterator[_Raw]:
        for number, host in enumerate(self.hosts):
            for data in _records(self.memory / f"{host}.findings", _FINDING_BYTES):
                yield _Raw.unpack(number, data)

    def _never_written_back(self) -> Iterator[_Raw]:
        """Lines that a host still has to write back, which another has loaded since."""
        for number, name in enumerate(self.devices):
            for line, data in _used(history_file(self.memory, name)):
                if (raw := _Raw.still_dirty(number, line, data)) is not None:
                    yield raw

    def _finding(self, raw: _Raw, owners: LineOwners) -> Finding:
        device = self.devices[raw.device]
        here = self._place(raw.host, raw.here)
        reasons = (self._legal.get(frame.function, "") for frame in here.frames)
        events = (
            Event(time / 1e9, self.hosts[host], _EVENTS[kind], self._place(host, site))
            for time, site, host, kind in raw.events
        )
        return Finding(
            WRONG[raw.wrong], self.hosts[raw.host], device, raw.line,
            owners.of(device, raw.line * _LINE_BYTES), raw.times, here,
            self.hosts[raw.other], self._place(raw.other, raw.stored),
            self._place(raw.other, raw.flushed), self._place(raw.host, raw.announced),
            tuple(events), next(filter(None, reasons), ""),
        )  # fmt: skip


@dataclass(frozen=True)
class _Raw:
    """A finding with numbers of hosts and sites."""

    wrong: int
    host: int
    device: int
    line: int
    times: int
    time: int
    here: int
    other: int
    stored: int
    flushed: int
    announced: int
    events: tuple[tuple[int, int, int, int], ...]  # time, site, host, kind

    @classmethod
    def unpack(cls, host: int, data: bytes) -> _Raw:
        (wrong, device, line, times, time, here, other, stored, flushed, announced, _line, _device,
         seen) = _FINDING.unpack_from(data)  # fmt: skip
        events = _events(data[_FINDING.size :], seen)
        return cls(wrong, host, device, line, times, time, here, other, stored, flushed, announced,
                   events)  # fmt: skip

    @classmethod
    def still_dirty(cls, device: int, line: int, data: bytes) -> _Raw | None:
        *_, dirty, dirty_at, flushed_at, seen, since = _HISTORY.unpack_from(data)
        if not dirty:
            return None
        events = _events(data[_HISTORY.size :], seen)
        for time, site, host, kind in events:
            if kind == _LOADED and host != dirty - 1 and time > since:
                wrong = _NOT_FENCED if flushed_at else _NOT_WRITTEN_BACK
                return cls(wrong, host, device, line, 1, time, site, dirty - 1, dirty_at,
                           flushed_at, 0, events)  # fmt: skip
        return None

    def sites(self) -> Iterator[tuple[int, int]]:
        """Host and site of each place."""
        yield from ((self.host, self.here), (self.host, self.announced))
        yield from ((self.other, self.stored), (self.other, self.flushed))
        yield from ((host, site) for _time, site, host, _kind in self.events)


def _events(data: bytes, seen: int) -> tuple[tuple[int, int, int, int], ...]:
    """The last ones, in order; number n is at n modulo their count."""
    all_of = [_EVENT.unpack_from(data, i * _EVENT.size) for i in range(_KEPT_EVENTS)]
    first = max(0, seen - _KEPT_EVENTS)
    return tuple(all_of[number % _KEPT_EVENTS] for number in range(first, seen))


def _read(path: Path, offset: int, length: int) -> bytes:
    """So many bytes; none if they are not there."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
    except FileNotFoundError:
        return b""
    return data if len(data) == length else b""


def _records(path: Path, size: int) -> Iterator[bytes]:
    """Yield those that a table holds, as its header counts them."""
    header = _read(path, 0, _HEADER.size)
    count = _HEADER.unpack(header)[0] if header else 0
    data = _read(path, _HEADER.size, count * size)
    return (data[at : at + size] for at in range(0, len(data), size))


def _used(path: Path) -> Iterator[tuple[int, bytes]]:
    """Each line with a history. The file is sparse, and not there if the lab never started."""
    if not path.exists():
        return
    with path.open("rb", buffering=0) as file:
        at = 0
        while True:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # no data beyond
                return
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            end = -(-at // _HISTORY_BYTES)
            for line in range(start // _HISTORY_BYTES, end, _LINES_AT_ONCE):
                count = min(_LINES_AT_ONCE, end - line)
                block = os.pread(file.fileno(), count * _HISTORY_BYTES, line * _HISTORY_BYTES)
                for number in range(len(block) // _HISTORY_BYTES):
                    data = block[number * _HISTORY_BYTES : (number + 1) * _HISTORY_BYTES]
                    if data[: _HISTORY.size].strip(b"\0"):
                        yield line + number, data
