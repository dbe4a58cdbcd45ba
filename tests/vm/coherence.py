# SPDX-License-Identifier: Apache-2.0
"""Which memory the hosts of the suite share: MEMORY=, else noncoherent where that is possible."""

from __future__ import annotations

import functools
import os
import subprocess
from dataclasses import replace

from famlab_vm.accelerator import choose_accelerator
from famlab_vm.coherence import COHERENT, Memory, check_possible
from famlab_vm.errors import PrerequisiteMissing
from famlab_vm.paths import Artifacts
from support.skips import missing_feature

_BEST = "noncoherent"


@functools.cache
def chosen() -> Memory:
    """What MEMORY says, with the seed of the run, else the best there is; and what BLAME says.

    Raises UsageError for a MEMORY that is none.
    """
    default = COHERENT if limit() else _BEST
    memory = Memory.parse(os.environ.get("MEMORY") or default)
    if memory.coherent:
        return memory
    seeded = "seed=" in memory.policy
    return replace(
        memory,
        policy=memory.policy if seeded else f"{memory.policy},seed={os.environ['SEED']}",
        blame=memory.blame or os.environ.get("BLAME", "0") not in ("", "0"),
    )


@functools.cache
def limit() -> str:
    """Why the hosts are coherent though nobody asked for that; empty if they are not."""
    if os.environ.get("MEMORY"):
        return ""
    artifacts = Artifacts.find()
    try:
        check_possible(Memory.parse(_BEST), choose_accelerator(artifacts, print)[0])
    except PrerequisiteMissing as error:
        return str(error)
    usage = subprocess.run([artifacts.qemu, "--help"], capture_output=True, text=True, check=False)
    return "" if "-plugin" in usage.stdout else f"{artifacts.qemu} takes no plugins"


def require_caches() -> Memory:
    """What is chosen; skips where hosts are coherent."""
    memory = chosen()
    if memory.coherent:
        missing_feature("caches of their own", "MEMORY=noncoherent gives hosts such")
    return memory


def described() -> str:
    """For the head of a run."""
    if not limit():
        return f"MEMORY={chosen()}"
    return (
        f"MEMORY={chosen()}, a limit of this run: what a host does not flush others see all the "
        f"same ({limit()})"
    )
