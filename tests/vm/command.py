# SPDX-License-Identifier: Apache-2.0
"""Calls of the famlab command."""

from __future__ import annotations

import os
import subprocess

from support import paths
from support.evidence import court
from vm.labs import share

FAMLAB = paths.REPOSITORY / "vm" / "famlab"


def share_of(verb: str) -> list[str]:
    """What `famlab up` is told, to start guests with the programs under test."""
    programs = share()
    return ["--share", programs] if verb == "up" and programs else []


def famlab(
    *words: str, timeout: float = 120, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [str(FAMLAB), *words, *share_of(words[0])],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    text = (done.stdout + done.stderr).decode(errors="replace")
    court.record("famlab", list(words), str(done.returncode), text)
    return done


def succeed(*words: str) -> str:
    done = famlab(*words)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode()
