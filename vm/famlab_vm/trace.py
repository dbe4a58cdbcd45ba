# SPDX-License-Identifier: Apache-2.0
"""When the steps of a lab's start were reached, all by this machine's monotonic clock."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

# In the order in which one host goes through them.
STEPS = (
    "python",  # famlab's code runs
    "libvirt",  # its driver is open
    "qemu",  # QEMU has started and the guest's processors run
    "kernel",  # the kernel's first line
    "init",
    "overlay",
    "share",
    "region",
    "dax",
    "waiting",  # for host0's commands of the workload
    "first",  # these are done
    "every",  # the commands of each host are done
    "agent",  # it answers
    "ready",
    "up",
)


class Trace:
    """The steps of one start. Safe to use from several threads."""

    def __init__(self, started: float | None = None) -> None:
        """`started`: the time that steps are counted from, else that of this process's start."""
        self._started = _process_start() if started is None else started
        self._lock = threading.Lock()
        self._times: dict[tuple[str, str], float] = {}

    def mark(self, step: str, host: str = "") -> None:
        """A host, or without one the lab, has reached a step now. Only the first time counts."""
        now = time.monotonic()
        with self._lock:
            self._times.setdefault((step, host), now)

    def table(self) -> list[str]:
        """Lines of words: the steps in the rows, the lab and its hosts in the columns; in ms."""
        with self._lock:
            times = dict(self._times)
        hosts = sorted({host for _, host in times})
        lines = [f"{'ms':8}" + "".join(f"{host or 'lab':>8}" for host in hosts)]
        for step in STEPS:
            cells = [_cell(times.get((step, host)), self._started) for host in hosts]
            if any(cell != "-" for cell in cells):
                lines.append(f"{step:8}" + "".join(f"{cell:>8}" for cell in cells))
        return lines


def _cell(reached: float | None, started: float) -> str:
    return "-" if reached is None else f"{(reached - started) * 1000:.0f}"


def _process_start() -> float:
    """Return when this process was started, in seconds of the monotonic clock, to 10 ms."""
    # The 22nd word, but the second is a name in parentheses; it counts the time asleep too.
    words = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    asleep = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return int(words[19]) / os.sysconf("SC_CLK_TCK") - asleep
