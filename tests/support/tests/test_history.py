# SPDX-License-Identifier: Apache-2.0
"""Contract: a history tells what happened on which host, when, on one clock, and the timeline shows
it whatever a guest has written.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support import history, paths, timeline
from support.tests.conftest import BOTH, Suite


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a test that runs."""
    history.begin(tmp_path, "vm/test_x.py::test_x")
    return tmp_path


def recorded(folder: Path) -> list[history.Event]:
    history.end()
    return history.load(folder / history.FILE)


def test_a_command_has_a_start_and_an_end(folder: Path) -> None:
    """The start is in the file before the end is known: a machine may die in between."""
    command = history.Command("host0", ["famfs", "mount", "a b"])
    [_, start] = history.load(folder / history.FILE)
    assert start["event"] == "start" and start["argv"] == ["famfs", "mount", "a b"]
    time.sleep(0.05)
    command.end("1", "no such device")
    end = recorded(folder)[-1]
    assert (end["event"], end["id"], end["outcome"]) == ("end", start["id"], "1")
    assert end["seconds"] == pytest.approx(end["t"] - start["t"], abs=1e-5)
    assert end["seconds"] > 0.05
    assert "famfs mount 'a b' -> 1 (0.0" in history.text([start, end])


def test_what_a_command_says_is_bounded(folder: Path) -> None:
    history.Command("host0", ["cat", "x" * 100_000]).end("0", "y" * 1_000_000)
    assert (folder / history.FILE).stat().st_size < 10_000
    assert "characters left out" in recorded(folder)[-1]["output"]


def test_many_lines_are_bounded(folder: Path) -> None:
    history.kernel("host0", "[    1.0] x\n" * 100_000)
    events = recorded(folder)
    assert len(events) < 4000 and "97000 more lines" in events[-1]["what"]


def test_wall_clock(folder: Path) -> None:
    """`wall` makes seconds since 1970 of the `t` of each event."""
    [clock] = recorded(folder)
    assert clock["t"] + clock["wall"] == pytest.approx(time.time(), abs=1)


class Time:
    """A CLOCK_MONOTONIC that a test moves."""

    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Time]:
    monkeypatch.setattr(Time, "now", 1000.0)
    monkeypatch.setattr(history._recorder, "clocks", {})
    monkeypatch.setattr(time, "monotonic", lambda: Time.now)
    return Time


def times(folder: Path, kind: str) -> dict[str, float]:
    return {event["text"]: event["t"] for event in recorded(folder) if event["event"] == kind}


def test_kernel_stamps_are_aligned(clock: type[Time], folder: Path) -> None:
    """By the moment at which the uptime was seen, the middle of asking and answer."""
    clock.now = 1060.0
    history.clock_seen("host0", 50.0, None, asked=1058.0)
    history.kernel("host0", "[   10.500000] early\n[   49.000000] late\n without a stamp")
    assert times(folder, "kernel") == pytest.approx(
        {"early": 1019.5, "late": 1058.0, " without a stamp": 1058.0}
    )


def test_clocks_of_hosts_are_their_own(clock: type[Time], folder: Path) -> None:
    """The same stamp of two hosts is two times; after a boot the stamps begin anew."""
    history.clock_seen("host0", 100.0, None)
    history.clock_seen("host1", 10.0, None)
    history.kernel("host0", "[   99.0] a")
    history.kernel("host1", "[    9.0] b")
    clock.now = 1100.0
    history.boot("host0")
    history.kernel("host0", "[    2.0] c")
    clock.now = 1110.0
    history.clock_seen("host1", 5.0, None)  # it has booted too, and nobody said so
    history.kernel("host1", "[    4.0] d")
    assert times(folder, "kernel") == {"a": 999.0, "b": 999.0, "c": 1102.0, "d": 1109.0}


def test_a_pause_stops_the_clock(clock: type[Time], folder: Path) -> None:
    """What was said before it is not moved into it, nor what was said after."""
    history.clock_seen("host0", 100.0, None)
    clock.now = 1010.0
    history.fault("host0", "pause")
    clock.now = 1500.0
    history.fault("host0", "resume")
    clock.now = 1520.0
    history.clock_seen("host0", 130.0, None)
    history.kernel("host0", "[  105.0] before\n[  115.0] after")
    assert times(folder, "kernel") == {"before": 1005.0, "after": 1505.0}


def test_daemons_are_aligned_by_their_wall_clock(clock: type[Time], folder: Path) -> None:
    """A guest whose clock is a year behind says things at the time when it says them."""
    history.clock_seen("host0", None, 1_763_000_000.0)  # 2025-11-13 02:13:20
    history.daemon("host0", "[2025-11-13 02:13:10.250] [error] broken\n[2025-11-13 99:99:99.000] x")
    assert times(folder, "daemon")["[error] broken"] == pytest.approx(990.25)


def test_half_a_line_is_left_out(folder: Path) -> None:
    """A process that was killed while it wrote."""
    history.note("host0", "whole")
    history.end()
    with (folder / history.FILE).open("a") as file:
        file.write('{"t": 5.0, "event": "no')
    assert [event["event"] for event in history.load(folder / history.FILE)] == ["clock", "note"]


BODY = """
from support import history
from support.evidence import NewLogs, observer

class Host:
    name = "host0"

    def new_logs(self):
        return NewLogs(kernel_log="[    1.0] hello from the kernel\\n", uptime=5.0)

def test_one():
    observer.add(Host())
    history.Command("host0", ["ls"]).end("0", "file")
    history.fault("host1", "kill")
    assert False

def test_two():
    history.Command("host1", ["true"]).end("0")
"""


@BOTH
def test_a_run_has_one_history(suite: Suite, jobs: int) -> None:
    """Of all tests and workers, in the order of time; each event says of which test it is."""
    run = suite.run(BODY, jobs=jobs)
    assert run.status == 1, run.output
    events = history.load(run.folder / history.FILE)
    assert [event["t"] for event in events] == sorted(event["t"] for event in events)
    by_test = {event["test"].rpartition("::")[2]: event["worker"] for event in events[1:]}
    assert set(by_test) == {"test_one", "test_two"}
    assert set(by_test.values()) <= ({"gw0", "gw1"} if jobs > 1 else {""})
    kinds = [event["event"] for event in events if event["test"].endswith("test_one")]
    assert {"start", "end", "fault", "kernel", "phase"} <= set(kinds)
    log = (run.evidence("test_one") / "history.log").read_text()
    assert "host0: ls -> 0" in log and "host1: *** kill" in log and "call: failed" in log
    # A failure has a timeline, and so has its run.
    assert (run.evidence("test_one") / timeline.FILE).exists()
    assert not (run.evidence("test_two") / timeline.FILE).exists()
    assert "kill" in (run.folder / timeline.FILE).read_text()


def test_timeline_by_command(suite: Suite) -> None:
    """tests/timeline makes one for each test of a run; a folder without a history is a mistake."""
    run = suite.run(BODY)
    command = [sys.executable, str(paths.TESTS / "timeline")]
    subprocess.run([*command, str(run.folder)], check=True, stdout=subprocess.DEVNULL)
    assert (run.evidence("test_two") / timeline.FILE).exists()
    assert subprocess.run([*command, "/"], stderr=subprocess.DEVNULL).returncode == 2


class Page(HTMLParser):
    """What a browser would see: elements, and the text outside of scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.titles: list[str] = []
        self.words = ""
        self.links: list[str] = []
        self._script = False
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._script = tag == "script"
        self.tags.append(tag)
        self.titles += [value or "" for name, value in attrs if name == "title"]
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        self.words += "" if self._script else data


HOSTILE = '</div><script>alert(1)</script>" onmouseover="x" \x1b[2J \u202e \ud800 {{ 1234 * 5678 }}'


def test_what_a_guest_writes_is_text(folder: Path) -> None:
    """Markup, quotes, control characters and a turn of direction are shown, and do nothing."""
    history.Command("host0", ["echo", HOSTILE]).end("0", HOSTILE)
    history.kernel(HOSTILE, f"[    1.0] {HOSTILE}")
    history.fault("host1", HOSTILE, HOSTILE)
    events = recorded(folder)
    page = Page(timeline.render(folder))
    assert page.tags.count("script") == 1 and page.links == []
    for text in (page.words, "".join(page.titles), history.text(events)):
        assert "alert(1)" in text and "7006652" not in text
        assert "\x1b" not in text and "\u202e" not in text and "\\x1b[2J" in text


def test_timeline_shows_hosts_and_faults(folder: Path) -> None:
    """A lane for each host; commands that overlap are in rows of their own."""
    first = history.Command("host0", ["first"])
    second = history.Command("host0", ["second"])
    first.end("0")
    second.end("3")
    history.Command("host1", ["never", "ends"])
    history.fault("host1", "kill")
    history.phase("call", 0.1, "failed")
    recorded(folder)
    text = timeline.render(folder).read_text()
    for name in ("test", "host0", "host1"):
        assert f'<span class="name">{name}</span>' in text
    assert '<div class="mark command bad"' in text and "<b>kill</b>" in text
    assert "top: 18px" in text and "top: 36px" in text and "no end was seen" in text


def test_json_is_safe_to_show(folder: Path) -> None:
    """The file itself is plain ASCII: cat and grep show nothing that steers a terminal."""
    history.fault("host0", HOSTILE)
    history.end()
    content = (folder / history.FILE).read_bytes()
    assert b"\x1b" not in content and content.isascii()
    assert json.loads(content.splitlines()[-1])["what"] == HOSTILE
