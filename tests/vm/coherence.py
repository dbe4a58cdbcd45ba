# SPDX-License-Identifier: Apache-2.0
"""Which memory the hosts of the suite share: MEMORY=, else caches that are not coherent."""

from __future__ import annotations

import functools
import os

from famlab_vm import Artifacts
from famlab_vm.accelerator import choose_accelerator
from famlab_vm.coherence import Memory


@functools.cache
def chosen() -> Memory:
    """What MEMORY says, with the seed of the run; strict and noncoherent if it says nothing.

    Raises UsageError for a MEMORY that is none.
    """
    if asked := os.environ.get("MEMORY"):
        memory = Memory.parse(asked)
    elif limit():
        memory = Memory()
    else:
        memory = Memory.parse("noncoherent")
    if memory.coherent or "seed=" in memory.policy:
        return memory
    return Memory(f"{memory.policy},seed={os.environ['SEED']}")


@functools.cache
def limit() -> str:
    """Why this machine has coherent memory only; empty if it has both."""
    kvm, _ = choose_accelerator(Artifacts.find(), lambda _text: None)
    return "guests run on KVM, whose processors share their caches" if kvm else ""
