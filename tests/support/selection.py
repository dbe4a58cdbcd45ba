# SPDX-License-Identifier: Apache-2.0
"""Which of the collected tests a run is of: all, or a choice of them (support/pairwise.py)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest


def parameters(item: pytest.Item) -> dict[str, Any]:
    """The values of a test's parameters, by their names."""
    return dict(getattr(getattr(item, "callspec", None), "params", {}))


def full() -> bool:
    """FULL=1 asks for all, however long it takes."""
    return os.environ.get("FULL") == "1"


def amount(of_all: int, of_choice: int) -> int:
    """How much of what can be repeated at will: with FULL=1, and without."""
    return of_all if full() else of_choice


def one_of(*values: str) -> tuple[str, ...]:
    """All of them with FULL=1; else the one that SEED chooses, of what is too dear for each."""
    return values if full() else (values[int(os.environ.get("SEED") or 0) % len(values)],)


def of_all(config: pytest.Config) -> bool:
    """Whether FULL=1 asks for all; and who names tests means all of these."""
    named = config.option.keyword or any("::" in word for word in config.args)
    return full() or bool(named)


def keep(config: pytest.Config, items: list[pytest.Item], kept: Sequence[pytest.Item]) -> None:
    """Makes `kept`, in their order, what is run of `items`; pytest is told of the others."""
    left = set(items) - set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item in left])
    items[:] = kept
