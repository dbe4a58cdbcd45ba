# SPDX-License-Identifier: Apache-2.0
"""Chooses few of many tests by a rule: each value of each dimension meets each value of every other
dimension in at least one test, as far as the tests have them together at all.

Most faults need one value or two that meet (D. R. Kuhn and others, "Software fault interactions and
implications for software testing", IEEE TSE 30, 2004).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

# (dimension, value): an item's place in one dimension.
Value = tuple[str, str]


def _meetings(item: Mapping[str, str]) -> frozenset[frozenset[Value]]:
    values = sorted(item.items())
    return frozenset(map(frozenset, combinations(values, 2))) or frozenset(
        [frozenset([value]) for value in values]
    )


def choose(items: Sequence[Mapping[str, str]]) -> list[int]:
    """The indices, ascending, of items in which all meet that meet in any.

    Greedy: next comes the item in which most meet for the first time, the first of equals. The same
    items always give the same choice. Each item maps a dimension's name to its value there.
    """
    missing = [_meetings(item) for item in items]
    chosen = []
    while True:
        best = max(range(len(items)), key=lambda index: len(missing[index]), default=-1)
        if best < 0 or not missing[best]:
            return sorted(chosen)
        chosen.append(best)
        met = missing[best]
        missing = [rest - met for rest in missing]
