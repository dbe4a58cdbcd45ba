# SPDX-License-Identifier: Apache-2.0
"""Contract: steps are counted from the start of the process, the first time each is reached."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from famlab_vm.trace import Trace

_SLOW_START = """
import sys, time
time.sleep(0.2)
sys.path.insert(0, sys.argv[1])
from famlab_vm.trace import Trace
trace = Trace()
trace.mark("python")
print(trace.table()[1])
"""


def test_table() -> None:
    """Rows are steps in the order of a start, columns the lab and its hosts, in ms."""
    trace = Trace(time.monotonic() - 1000)
    trace.mark("ready", "host1")
    trace.mark("kernel", "host1")
    trace.mark("python")
    trace.mark("kernel", "host0")
    head, *rows = [line.split() for line in trace.table()]
    assert head == ["ms", "lab", "host0", "host1"]
    assert [row[0] for row in rows] == ["python", "kernel", "ready"]
    assert [cell == "-" for row in rows for cell in row[1:]] == [
        False, True, True, True, False, False, True, True, False,
    ]
    assert all(1000000 <= int(cell) < 1010000 for row in rows for cell in row[1:] if cell != "-")


def test_first_time_counts() -> None:
    """A step that is reached again keeps its time."""
    trace = Trace(time.monotonic())
    trace.mark("up")
    before = trace.table()
    time.sleep(0.02)
    trace.mark("up")
    assert trace.table() == before


def test_counted_from_the_start_of_the_process() -> None:
    """What python and its imports take is in it."""
    source = str(Path(__file__).resolve().parents[1])
    started = time.monotonic()
    line = subprocess.check_output([sys.executable, "-c", _SLOW_START, source]).decode()
    elapsed = (time.monotonic() - started) * 1000
    assert 180 <= int(line.split()[1]) <= elapsed + 20
