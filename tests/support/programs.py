# SPDX-License-Identifier: Apache-2.0
"""The programs under test: those of this repository, or others that FAMFS_BIN names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from support import paths

# The daemon has two names: ours and the reference's.
DAEMONS = ("famfsd", "famfs_fused")
NEEDED: tuple[tuple[str, ...], ...] = (("famfs",), ("mkfs.famfs",), DAEMONS)

# Not those of this repository, so what they have must be found out.
FOREIGN = bool(os.environ.get("FAMFS_BIN"))


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def problem() -> str:
    """What is wrong with the directory of the programs; empty if nothing is."""
    wanted = ", ".join(" or ".join(names) for names in NEEDED)
    said = f"FAMFS_BIN={os.environ['FAMFS_BIN']}" if FOREIGN else str(paths.BINARIES)
    help_ = "" if FOREIGN else ": run `make` first"
    if not paths.BINARIES.is_dir():
        return f"{said}: no such directory (of the programs {wanted}){help_}"
    for names in NEEDED:
        if not any(_is_program(paths.BINARIES / name) for name in names):
            return f"{said}: no program {' or '.join(names)} (looked for {wanted}){help_}"
    return ""


def daemon() -> str:
    """The daemon's name, as pgrep(1) shows it."""
    return next((name for name in DAEMONS if _is_program(paths.BINARIES / name)), DAEMONS[0])


if __name__ == "__main__":
    if FOREIGN and (found := problem()):
        sys.exit(found)
