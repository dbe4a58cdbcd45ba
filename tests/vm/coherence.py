# SPDX-License-Identifier: Apache-2.0
"""Which memory the hosts of the suite share: MEMORY=."""

from __future__ import annotations

import functools
import os

from famlab_vm.coherence import Memory


@functools.cache
def chosen() -> Memory:
    """What MEMORY says, with the seed of the run; coherent if it says nothing.

    Raises UsageError for a MEMORY that is none.
    """
    memory = Memory.parse(os.environ.get("MEMORY") or "coherent")
    if memory.coherent or "seed=" in memory.policy:
        return memory
    return Memory(f"{memory.policy},seed={os.environ['SEED']}")
