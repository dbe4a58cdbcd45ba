# SPDX-License-Identifier: Apache-2.0
"""A history as one HTML file that needs nothing else: a lane for each host, a list below.

Bars are commands, red marks are faults, ticks are messages of kernels and daemons. Whatever a guest
wrote is text in it, never markup.
"""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from support import history, paths
from support.history import Event, printable

FILE = "timeline.html"
# Lines of a bar's text that are shown when the pointer is on it.
_HOVER_LINES = 12


@dataclass
class Mark:
    """A bar (with a length) or a tick of a lane; `left` and `width` in per cent of the whole."""

    kind: str
    left: float
    width: float
    title: str
    row: int = 0
    label: str = ""


@dataclass
class Lane:
    """What happened on one host. Bars that overlap are in rows below each other."""

    name: str
    marks: list[Mark] = field(default_factory=list)
    _row_ends: list[float] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return max(1, len(self._row_ends))

    def row_for(self, start: float, end: float) -> int:
        """The first row that is free from `start` to `end` (seconds), which it then is not."""
        for row, busy_until in enumerate(self._row_ends):
            if busy_until <= start:
                break
        else:
            row = len(self._row_ends)
            self._row_ends.append(0.0)
        self._row_ends[row] = end
        return row


@dataclass(frozen=True)
class Line:
    """A line of the list."""

    seconds: float
    lane: str
    kind: str
    text: str


@dataclass
class Page:
    """All that the template shows."""

    title: str
    began: str
    seconds: float
    lanes: list[Lane]
    lines: list[Line]


def _lane_of(event: Event, of_run: bool) -> str:
    host = str(event.get("host", "")) or "test"
    worker = str(event.get("worker", ""))
    return f"{worker} {host}" if of_run and worker else host


def _natural(name: str) -> tuple[str, bool, str]:
    """Workers one after the other, and of each the test before its hosts."""
    worker, _, host = name.rpartition(" ")
    return worker, host != "test", host


class _Builder:
    """Turns events into a page."""

    def __init__(self, events: Sequence[Event], of_run: bool) -> None:
        self._of_run = of_run
        self._events = [event for event in events if event["event"] != "clock"]
        starts = [event["t"] - event.get("seconds", 0.0) for event in self._events]
        self._first = min(starts, default=0.0)
        last = max((event["t"] for event in self._events), default=0.0)
        self._length = max(last - self._first, 0.001)
        self._lanes: dict[str, Lane] = {}
        self._lines: list[Line] = []
        self._begun: dict[tuple[str, int], Event] = {}

    def page(self, title: str, wall: float) -> Page:
        for event in self._events:
            self._add(event)
        for start in self._begun.values():
            self._command(start, self._first + self._length, "begins, and no end was seen", "")
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._first + wall))
        lanes = [self._lanes[name] for name in sorted(self._lanes, key=_natural)]
        lines = sorted(self._lines, key=lambda line: line.seconds)
        return Page(title, began, self._length, lanes, lines)

    def _percent(self, seconds: float) -> float:
        return round(100 * seconds / self._length, 4)

    def _lane(self, event: Event) -> Lane:
        name = printable(_lane_of(event, self._of_run))
        return self._lanes.setdefault(name, Lane(name))

    def _say(self, event: Event, t: float, kind: str, text: str) -> str:
        """A line of the list; returns what is shown of it at its mark."""
        text = printable(text).strip()
        seconds = t - self._first
        self._lines.append(Line(round(seconds, 3), self._lane(event).name, kind, text))
        shown = text.splitlines()
        if len(shown) > _HOVER_LINES:
            shown[_HOVER_LINES:] = ["…"]
        return f"{seconds:.3f} s\n" + "\n".join(shown)

    def _bar(self, event: Event, kind: str, start: float, end: float, text: str) -> None:
        title = self._say(event, start, kind, text)
        left, width = self._percent(start - self._first), self._percent(end - start)
        lane = self._lane(event)
        lane.marks.append(Mark(kind, left, width, title, lane.row_for(start, end)))

    def _tick(self, event: Event, kind: str, text: str) -> None:
        title = self._say(event, event["t"], kind, text)
        left = self._percent(event["t"] - self._first)
        label = printable(str(event.get("what", "")))
        self._lane(event).marks.append(Mark(kind, left, 0.0, title, label=label))

    def _command(self, start: Event, end: float, came_of_it: str, output: str) -> None:
        kind = "command" if came_of_it.startswith("-> 0") else "command bad"
        text = f"{shlex.join(start['argv'])}\n{came_of_it}\n{output}"
        self._bar(start, kind, start["t"], end, text)

    def _add(self, event: Event) -> None:
        what = event["event"]
        if what in ("start", "end"):
            key = (str(event.get("worker", "")), int(event["id"]))
            if what == "start":
                self._begun[key] = event
                return
            start = {"t": event["t"] - event["seconds"], "argv": ["(begun before)"]}
            start = self._begun.pop(key, {**event, **start})
            outcome = f"-> {event['outcome']} ({event['seconds']:.3f} s)"
            self._command(start, event["t"], outcome, event["output"])
        elif what == "phase":
            kind = "phase" if event["outcome"] != "failed" else "phase bad"
            test = f"{event['test']}\n" if self._of_run else ""
            text = f"{test}{event['what']}: {event['outcome']} ({event['seconds']:.3f} s)"
            self._bar(event, kind, event["t"] - event["seconds"], event["t"], text)
        elif what == "fault":
            self._tick(event, "fault", f"{event['what']}\n{event['detail']}")
        elif what == "boot":
            self._tick(event, "boot", f"boot: {event['what']}")
        elif what == "note":
            self._tick(event, "note", f"{event['what']}\n{event['detail']}")
        elif what in ("kernel", "daemon"):
            trouble = bool(event.get("trouble"))
            if trouble or not self._of_run:
                self._tick(event, f"{what} trouble" if trouble else what, event["text"])


def render(folder: Path) -> Path:
    """Makes timeline.html of the history.jsonl of a test or a run; returns it.

    That of a run leaves out what kernels and daemons said without need: it would be most of it.
    """
    events = history.load(folder / history.FILE)
    clock = next((event for event in events if event["event"] == "clock"), {"wall": 0.0})
    test = str(clock.get("test", ""))
    page = _Builder(events, of_run=not test).page(test or folder.resolve().name, clock["wall"])
    loader = jinja2.FileSystemLoader(paths.TESTS / "support")
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    target = folder / FILE
    target.write_text(environment.get_template("timeline.html.j2").render(page=page))
    return target


def main() -> int:
    """The command tests/timeline."""
    description = """Makes timeline.html of the history of a test or of a run. FOLDER is one of
        build/results/SUITE: that of a test, or of a run, and then all its tests get one. What
        failed has its own already. Exit status: 0 done, 2 usage."""
    parser = argparse.ArgumentParser(prog="tests/timeline", description=description)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    folder: Path = parser.parse_args().folder
    found = sorted(path.parent for path in folder.glob(f"*/{history.FILE}"))
    if (folder / history.FILE).is_file():
        found.append(folder)
    if not found:
        parser.error(f"{folder}: no {history.FILE} there, nor in a folder below")
    for path in found:
        print(render(path))
    return 0
