# SPDX-License-Identifier: Apache-2.0
"""How a value is written in an option of QEMU."""

from __future__ import annotations

from pathlib import Path


def escape(value: str | Path) -> str:
    """Return `value` as QEMU's option parser reads it back: it takes a doubled comma as a comma."""
    return str(value).replace(",", ",,")
