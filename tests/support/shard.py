# SPDX-License-Identifier: Apache-2.0
"""SHARD=2/5: the second of five parts of a suite, for machines that share it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")
SELECTED = "selected.json"
# The ids of all tests of which this run has a part.
WHOLE = pytest.StashKey[list[str]]()


@dataclass
class Selection:
    """What a run has of a suite, as selected.json keeps it: ids of tests."""

    number: int
    count: int
    whole: list[str]
    selected: list[str]

    def save(self, run: Path) -> None:
        """Every worker of a run does, and all have collected the same."""
        fresh = run / f".{SELECTED}.{os.getpid()}"
        fresh.write_text(json.dumps(asdict(self), indent=1) + "\n")
        fresh.replace(run / SELECTED)

    @classmethod
    def load(cls, run: Path) -> Selection:
        """Raises OSError, or ValueError or TypeError if it is damaged."""
        return cls(**json.loads((run / SELECTED).read_text()))


def number_and_count() -> tuple[int, int]:
    """(2, 5) for SHARD=2/5, (1, 1) without it. Raises UsageError."""
    text = os.environ.get("SHARD", "").strip()
    if not text:
        return 1, 1
    match = re.fullmatch(r"([1-9]\d{0,3})/([1-9]\d{0,3})", text)
    if not match or int(match[1]) > int(match[2]):
        raise pytest.UsageError(f"SHARD={text}: it may be K/N with 1 <= K <= N, such as 2/5")
    return int(match[1]), int(match[2])


def part(items: Sequence[T]) -> list[T]:
    """The part of this run: a run of neighbours, as tests that share something are side by side."""
    number, count = number_and_count()
    return list(items[len(items) * (number - 1) // count : len(items) * number // count])
