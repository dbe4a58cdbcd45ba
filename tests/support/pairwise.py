# SPDX-License-Identifier: Apache-2.0
"""Chooses few of many tests by a rule: what is to meet does so in at least one of them.

Most faults need one value or two that meet (D. R. Kuhn and others, "Software fault interactions and
implications for software testing", IEEE TSE 30, 2004).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

# Values of dimensions that are to meet in one test: (dimension, value) of one or two.
Meeting = frozenset[tuple[str, str]]


def meetings(
    item: Mapping[str, str], common: Sequence[str], own: Sequence[str]
) -> frozenset[Meeting]:
    """What meets in a test, which is given by its value in each dimension.

    Each value of a `common` dimension meets each of every other; each value of a dimension of the
    test's own meets those of the dimensions `own` alone.
    """
    pairs = combinations([dimension for dimension in common if dimension in item], 2)
    rest = [dimension for dimension in item if dimension not in common]
    pairs_of_own = [(name, dimension) for name in own for dimension in rest]
    return frozenset(
        frozenset((dimension, item[dimension]) for dimension in pair)
        for pair in (*pairs, *pairs_of_own)
    )


def choose(items: Sequence[frozenset[Meeting]]) -> list[int]:
    """The indices, ascending, of items in which all meet that meet in any.

    Greedy: next comes the item in which most meet for the first time; of equals, the one whose
    values have been chosen least, then the first. The same items always give the same choice.
    """
    missing = list(items)
    values = [frozenset(value for meeting in item for value in meeting) for item in items]
    uses: Counter[tuple[str, str]] = Counter()
    chosen: list[int] = []
    while True:
        best = max(
            range(len(items)),
            key=lambda index: (len(missing[index]), -sum(uses[value] for value in values[index])),
            default=-1,
        )
        if best < 0 or not missing[best]:
            return sorted(chosen)
        chosen.append(best)
        uses.update(values[best])
        met = missing[best]
        missing = [rest - met for rest in missing]
