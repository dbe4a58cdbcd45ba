# SPDX-License-Identifier: Apache-2.0
"""KEEP=1: the run stops at the first failure, and all that the test had is left as it is.

Nothing is torn down: mounts, daemons and guests stay until `tests/run --end DIRECTORY`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from support import paths

if TYPE_CHECKING:  # tests/run needs no pytest to say that there is none
    import pytest

_MARK = "kept"


def wanted() -> bool:
    return os.environ.get("KEEP") == "1"


def keep(item: pytest.Item, how_to_enter: Iterable[str]) -> None:
    """Stops the run after this test, without a teardown; says how to enter what is left."""
    directory = paths.run_directory()
    (directory / _MARK).write_text("\n".join(how_to_enter) + "\n")
    # What is still to be torn down, fixtures of all scopes.
    item.session._setupstate.stack.clear()
    item.session.shouldfail = f"KEEP=1: everything of {item.nodeid} is left as it is"


def kept(directory: Path) -> str | None:
    """How to enter what a run has left in its directory; None if nothing was to be kept."""
    try:
        return (directory / _MARK).read_text()
    except OSError:
        return None


def is_ours(directory: Path) -> bool:
    """Whether a directory is that of a run of this user which has kept something."""
    try:
        owner = directory.lstat().st_uid
    except OSError:
        return False
    return owner == os.geteuid() and not directory.is_symlink() and kept(directory) is not None
