# SPDX-License-Identifier: Apache-2.0
"""Sizes in bytes, to and from text."""

from __future__ import annotations

import re

_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d{1,15})\s*([KMGT]?)(?:iB)?", re.IGNORECASE)


def parse_size(value: object) -> int:
    """Return the bytes that `value` (an int, or text such as 256M, 4G, 4GiB) stands for.

    Suffixes are powers of 1024. Raises ValueError if it is no size.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("not a size")
    return int(match[1]) * _FACTORS[match[2].upper()]


def format_size(size: int) -> str:
    """Return `size` bytes with the largest suffix that divides it, as parse_size reads it."""
    for suffix in "TGMK":
        if size and size % _FACTORS[suffix] == 0:
            return f"{size // _FACTORS[suffix]}{suffix}"
    return str(size)
