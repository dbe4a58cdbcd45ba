# SPDX-License-Identifier: Apache-2.0
"""Several tests at once: how many processes of pytest-xdist, and what is each one's own.

A worker's run directory and marker are below those of the run, so the check for what a test has
left sees its own worker only, and the sweep at the end of the run sees all.
"""

from __future__ import annotations

import os

from support.paths import RUN_DIRECTORY, RUN_MARKER

# What a worker of the vm suite needs at most: a lab of four hosts and the memory they share.
_MEMORY_OF_A_WORKER = 5 << 30


def jobs() -> int:
    """How many tests run at once: JOBS, else what processors and free memory allow."""
    if asked := os.environ.get("JOBS", "").strip():
        return max(1, int(asked))
    return max(1, min(len(os.sched_getaffinity(0)), _available_memory() // _MEMORY_OF_A_WORKER))


def _available_memory() -> int:
    with open("/proc/meminfo") as lines:
        values = {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in lines)}
    return values["MemAvailable"] << 10


def enter_worker(worker_id: str) -> None:
    """Gives this process, a worker of pytest-xdist, a run directory and a marker of its own."""
    directory = os.path.join(os.environ[RUN_DIRECTORY], worker_id)
    os.mkdir(directory, mode=0o700)
    os.environ[RUN_DIRECTORY] = directory
    os.environ[RUN_MARKER] = f"{os.environ[RUN_MARKER]}.{worker_id}"
