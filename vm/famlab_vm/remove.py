# SPDX-License-Identifier: Apache-2.0
"""Removing directories that guests can write to, whatever modes they gave to what is in them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def remove_tree(path: Path) -> None:
    """Remove a directory and all in it. Raises OSError.

    Without root, a directory that may not be written cannot be emptied: then it is made writable.
    """
    try:
        shutil.rmtree(path)
    except PermissionError:
        for parent, names, _ in os.walk(path):
            for name in names:
                below = Path(parent) / name
                if not below.is_symlink():
                    below.chmod(0o700)
        shutil.rmtree(path)
