# SPDX-License-Identifier: Apache-2.0
"""How many tests run at once."""

from __future__ import annotations

import os

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
