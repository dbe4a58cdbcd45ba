# SPDX-License-Identifier: Apache-2.0
"""What happened on which host, when: one JSON object a line, all on one clock.

Each test has a history.jsonl of its own; that of the run is made of these when it ends. `t` is
CLOCK_MONOTONIC of this machine in seconds, so histories of several processes fit together. The
first line (`clock`) has `wall`, what must be added to `t` for seconds since 1970. Kinds of events:

    clock            {"wall", "test", "worker"}
    start, end       a command: {"id", "argv"} and {"id", "seconds", "outcome", "output"}
    fault            what was done to a host, or befell it: {"what", "detail"}
    boot             {"what": "begins" or "ready"}
    kernel, daemon   {"text", "trouble"}; `t` is worked out from the stamp of the line
    phase            of the test, at its end: {"what", "seconds", "outcome"}
    note             {"what", "detail"}

Functions may be called from several threads. Outside a test they do nothing.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from support import troubles

FILE = "history.jsonl"
Event = dict[str, Any]

# What is kept of one command's output, of one line, and of the lines of one log at one time; the
# whole is in the logs beside.
_OUTPUT_BYTES = 4096
_LINE_BYTES = 1000
_LINES = 3000

_KERNEL_STAMP = re.compile(r"^(?:<\d+>)?\[\s*(\d+\.\d+)\] ?(.*)$")
_DAEMON_STAMP = re.compile(r"^\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3})\] ?(.*)$")


class GuestClock:
    """Places the stamps of a host's own clock on ours.

    It is known at moments at which both clocks were seen. Between two of them the clocks are taken
    to have run evenly, before the first and after the last at the same rate.
    """

    def __init__(self) -> None:
        self._stamps: list[float] = []
        self._times: list[float] = []

    def seen(self, stamp: float, t: float) -> None:
        """The host's clock showed `stamp` at `t`. If it went back, the host has booted since."""
        if self._stamps and stamp < self._stamps[-1]:
            self._stamps, self._times = [], []
        self._stamps.append(stamp)
        self._times.append(t)

    def stops(self, t: float) -> None:
        """The host is paused."""
        if self._stamps:
            self.seen(self._stamps[-1] + t - self._times[-1], t)

    def goes_on(self, t: float) -> None:
        """The host is resumed, and its clock shows what it did when it stopped."""
        if self._stamps:
            self.seen(self._stamps[-1], t)

    def at(self, stamp: float, otherwise: float) -> float:
        """The time of a stamp; `otherwise` if both clocks were never seen together."""
        if not self._stamps:
            return otherwise
        after = bisect_left(self._stamps, stamp)
        if after == 0 or after == len(self._stamps):
            known = min(after, len(self._stamps) - 1)
            return self._times[known] + stamp - self._stamps[known]
        first, last = self._stamps[after - 1], self._stamps[after]
        part = (stamp - first) / (last - first)
        return self._times[after - 1] + part * (self._times[after] - self._times[after - 1])


@dataclass
class _Clocks:
    """Of a host: since it booted, and that of the wall."""

    uptime: GuestClock = field(default_factory=GuestClock)
    wall: GuestClock = field(default_factory=GuestClock)


class _Recorder:
    """The history of the test that runs now, and what is known of the hosts' clocks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file: IO[str] | None = None
        self._commands = 0
        self.clocks: dict[str, _Clocks] = {}

    def open(self, path: Path, test: str) -> None:
        with self._lock:
            self._file = path.open("a", buffering=1)
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        self.add("clock", wall=time.time() - time.monotonic(), test=test, worker=worker)

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def next_command(self) -> int:
        with self._lock:
            self._commands += 1
            return self._commands

    def add(self, event: str, host: str = "", t: float | None = None, **details: Any) -> None:
        self.add_all([_event(event, host, time.monotonic() if t is None else t, details)])

    def add_all(self, events: Iterable[Event]) -> None:
        lines = "".join(json.dumps(event) + "\n" for event in events)
        with self._lock:
            if self._file is not None:
                self._file.write(lines)


def _event(event: str, host: str, t: float, details: dict[str, Any]) -> Event:
    return {"t": round(t, 6), "event": event, **({"host": host} if host else {}), **details}


_recorder = _Recorder()


def begin(folder: Path, test: str) -> None:
    """From now on events go to the history of this test."""
    _recorder.open(folder / FILE, test)


def end() -> None:
    """The test is over."""
    _recorder.close()


class Command:
    """A command that begins on a host now."""

    def __init__(self, host: str, argv: Sequence[str]) -> None:
        self._id = _recorder.next_command()
        self._host = host
        self._began = time.monotonic()
        shown = [_bounded(word, _LINE_BYTES) for word in argv]
        _recorder.add("start", host, self._began, id=self._id, argv=shown)

    def end(self, outcome: str, output: str = "") -> None:
        """It has ended now; `outcome` is its exit status, or what came of it instead."""
        now = time.monotonic()
        _recorder.add(
            "end",
            self._host,
            now,
            id=self._id,
            seconds=round(now - self._began, 6),
            outcome=outcome,
            output=_bounded(output, _OUTPUT_BYTES),
        )


def fault(host: str, what: str, detail: str = "") -> None:
    """Something is done to a host, or befalls it: kill, panic, pause, resume, machine check …"""
    now = time.monotonic()
    _recorder.add("fault", host, now, what=what, detail=_bounded(detail, _OUTPUT_BYTES))
    clocks = _recorder.clocks.get(host)
    if clocks is not None and what in ("pause", "resume"):
        for clock in (clocks.uptime, clocks.wall):
            clock.stops(now) if what == "pause" else clock.goes_on(now)


def boot(host: str) -> None:
    """A host is started. Until its clock is seen, it is taken to have begun at 0 now."""
    now = time.monotonic()
    clocks = _recorder.clocks[host] = _Clocks()
    clocks.uptime.seen(0.0, now)
    _recorder.add("boot", host, now, what="begins")


def ready(host: str) -> None:
    """A host that was started can be used."""
    _recorder.add("boot", host, what="ready")


def note(host: str, what: str, detail: str = "") -> None:
    """Anything else; `host` may be any name that a reader of the history understands."""
    _recorder.add("note", host, what=what, detail=_bounded(detail, _OUTPUT_BYTES))


def phase(what: str, seconds: float, outcome: str) -> None:
    """A phase of the test has ended."""
    _recorder.add("phase", what=what, seconds=round(seconds, 6), outcome=outcome)


def clock_seen(
    host: str, uptime: float | None, wall: float | None, asked: float | None = None
) -> None:
    """What a host's clocks showed between the time when it was `asked` (now if None) and now.

    `uptime`: seconds since it booted, as its kernel stamps its log. `wall`: its local time, in
    seconds since 1970 as if that were UTC, as its daemons stamp theirs. None if not known.
    """
    now = time.monotonic()
    t = now if asked is None else (asked + now) / 2
    clocks = _recorder.clocks.setdefault(host, _Clocks())
    if uptime is not None:
        clocks.uptime.seen(uptime, t)
    if wall is not None:
        clocks.wall.seen(wall, t)


def local_time() -> float:
    """What clock_seen() wants as `wall`, of this machine."""
    return datetime.now().replace(tzinfo=timezone.utc).timestamp()


def kernel(host: str, text: str) -> None:
    """Lines of a kernel log or console that are new."""
    found = set(troubles.in_kernel_log(text))
    clock = _recorder.clocks.setdefault(host, _Clocks()).uptime
    _add_lines("kernel", host, text, clock, found)


def daemon(host: str, text: str) -> None:
    """Lines of a daemon's log that are new."""
    found = set(troubles.in_daemon_log(text))
    clock = _recorder.clocks.setdefault(host, _Clocks()).wall
    _add_lines("daemon", host, text, clock, found)


def _add_lines(
    event: str, host: str, text: str, clock: GuestClock, found: set[str]
) -> None:
    now = time.monotonic()
    lines = [line for line in text.splitlines() if line.strip()]
    t, events = now, []
    for line in lines[:_LINES]:
        stamp, said = _stamp_of(line)
        if stamp is not None:  # a line without one came with the line before it
            t = clock.at(stamp, now)
        details: dict[str, Any] = {"text": _bounded(said, _LINE_BYTES)}
        if line.strip() in found:
            details["trouble"] = True
        events.append(_event(event, host, t, details))
    if len(lines) > _LINES:
        left_out = f"{len(lines) - _LINES} more lines of its {event} are in the log"
        events.append(_event("note", host, now, {"what": left_out, "detail": ""}))
    _recorder.add_all(events)


def _stamp_of(line: str) -> tuple[float | None, str]:
    if match := _KERNEL_STAMP.match(line):
        return float(match[1]), match[2]
    if match := _DAEMON_STAMP.match(line):
        try:
            moment = datetime.fromisoformat(match[1]).replace(tzinfo=timezone.utc)
        except ValueError:
            return None, line
        return moment.timestamp(), match[2]
    return None, line


def _bounded(text: str, size: int) -> str:
    if len(text) <= size:
        return text
    half = size // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def printable(text: str) -> str:
    """Text of a guest without what could steer a terminal or hide something from a reader."""
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode()
        for one in text
    )


def load(path: Path) -> list[Event]:
    """The events of a file in the order in which they happened.

    What a process wrote when it died may end in half a line; that is left out.
    """
    events = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("t"), float):
            events.append(event)
    return sorted(events, key=lambda event: (event["t"], event["event"] != "clock"))


def merge(run: Path) -> None:
    """Makes the history of a run of those of its tests; each event names its test and worker."""
    merged: list[Event] = []
    wall = time.time() - time.monotonic()
    for path in sorted(run.glob(f"*/{FILE}")):
        events = load(path)
        clock = next((event for event in events if event["event"] == "clock"), None)
        if clock is None:
            continue
        wall = clock["wall"]
        where = {"test": clock["test"], "worker": clock["worker"]}
        merged += [{**event, **where} for event in events if event is not clock]
    merged.sort(key=lambda event: float(event["t"]))
    _write_run(run, merged, wall)


def join(runs: Mapping[str, Path], target: Path) -> None:
    """One history of several runs, by their names. They may be of several machines, so their wall
    clocks join them.
    """
    joined: list[Event] = []
    base: float | None = None
    for name, run in runs.items():
        events = load(run / FILE) if (run / FILE).exists() else []
        clock = next((event for event in events if event["event"] == "clock"), None)
        if clock is None:
            continue
        base = clock["wall"] if base is None else base
        for event in events:
            if event is not clock:
                worker = f"{name} {event.get('worker', '')}".strip()
                t = round(event["t"] + clock["wall"] - base, 6)
                joined.append({**event, "t": t, "worker": worker})
    joined.sort(key=lambda event: float(event["t"]))
    _write_run(target, joined, 0.0 if base is None else base)


def _write_run(run: Path, events: Sequence[Event], wall: float) -> None:
    first = events[0]["t"] if events else time.monotonic()
    head = _event("clock", "", first, {"wall": wall, "test": "", "worker": ""})
    with (run / FILE).open("w") as file:
        file.writelines(json.dumps(event) + "\n" for event in [head, *events])


def text(events: Sequence[Event]) -> str:
    """The history of a test for people, times in seconds since it began.

    Of the kernels' messages only those that are trouble: the logs beside have them all.
    """
    lines: list[str] = []
    # What is learned late may have been said before the test began.
    began = next((event["t"] for event in events if event["event"] == "clock"), 0.0)
    words: dict[int, str] = {}

    def say(event: Event, what: str, output: str = "") -> None:
        host = f"{event['host']}: " if "host" in event else ""
        lines.append(f"{event['t'] - began:9.3f} {host}{what}".rstrip())
        shown = output.splitlines()
        lines.extend(f"          | {line}" for line in shown[:40])
        if len(shown) > 40:
            lines.append(f"          | … {len(shown) - 40} more lines")

    later: list[Event] = [*events[1:], {}]
    for event, following in zip(events, later):
        kind = event["event"]
        if kind == "start":
            words[event["id"]] = shlex.join(event["argv"])
            if following.get("event") != "end" or following["id"] != event["id"]:
                say(event, f"{words[event['id']]} …")
        elif kind == "end":
            ran = f"{words.get(event['id'], '(begun before)')} -> {event['outcome']}"
            say(event, f"{ran} ({event['seconds']:.3f} s)", event["output"])
        elif kind in ("fault", "note"):
            mark = "*** " if kind == "fault" else ""
            say(event, f"{mark}{event['what']}", event["detail"])
        elif kind == "boot":
            say(event, f"boot: {event['what']}")
        elif kind == "daemon" or (kind == "kernel" and event.get("trouble")):
            say(event, f"{kind}: {event['text']}")
        elif kind == "phase":
            say(event, f"--- {event['what']}: {event['outcome']} ({event['seconds']:.3f} s)")
    return printable("\n".join(lines) + "\n")
