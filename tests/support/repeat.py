# SPDX-License-Identifier: Apache-2.0
"""REPEAT=100: each selected test a hundred times in a row, and how often it failed.

After the selection, so that a test is named as ever. The n-th repetition has ` #n` after its id.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Sequence

import pytest

_REPETITION = re.compile(r" #\d+$")


def count() -> int:
    """How often each test runs. Raises UsageError."""
    text = os.environ.get("REPEAT", "").strip() or "1"
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise pytest.UsageError(f"REPEAT={text}: it may be a number, such as 100")
    return int(text)


def without_repetition(node_id: str) -> str:
    """The id that names the test."""
    return _REPETITION.sub("", node_id)


def repeated(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Each item as often as asked for."""
    times = count()
    if times == 1:
        return list(items)
    return [_again(item, number) for item in items for number in range(1, times + 1)]


def _again(item: pytest.Item, number: int) -> pytest.Item:
    """The same item with a life of its own: pytest has no way to collect one twice."""
    again = copy.copy(item)
    again._nodeid = f"{item.nodeid} #{number}"
    again.stash = pytest.Stash()
    again.user_properties = []
    again._report_sections = []
    if isinstance(again, pytest.Function):
        again._initrequest()
    return again
