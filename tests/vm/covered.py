# SPDX-License-Identifier: Apache-2.0
"""What is covered: which tests `make test-vm` runs of all that there are, and the table of how
many each value of each dimension has in both modes, made from the collected tests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from support import pairwise, selection
from vm.mapping import ALL_METHODS
from vm.shapes import Shape

# The dimensions of the suite, each value of which is to meet each of the others; a contract is a
# file of tests. What else a test has as a parameter is its own.
DIMENSIONS = ("contract", "topology", "hosts", "cpus", "dax", "method", "kind")


def place(item: pytest.Item) -> dict[str, str]:
    """A test's value in each dimension."""
    module, _, function = item.nodeid.partition("[")[0].partition("::")
    name = module.rpartition("/")[2].removeprefix("test_").removesuffix(".py")
    found = {"contract": name, "test": f"{name}.{function}"}
    for name, value in selection.parameters(item).items():
        if isinstance(value, Shape):
            found |= {field: str(of_lab) for field, of_lab in vars(value).items()}
        else:
            found["method" if value in ALL_METHODS else name] = str(value)
    return found


def choose(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Every test once, with every value of what is its own; and the dimensions pair by pair."""
    meetings = [pairwise.meetings(place(item), DIMENSIONS, own=("test",)) for item in items]
    return [items[index] for index in pairwise.choose(meetings)]


def table(all_items: Sequence[pytest.Item], chosen: Sequence[pytest.Item]) -> str:
    """Markdown: a row for each value."""
    whole, few = (_count(list(map(place, items))) for items in (all_items, chosen))
    lines = ["| dimension | value | make test-vm | FULL=1 |", "|---|---|---|---|"]
    for dimension in DIMENSIONS:
        for (name, value), count in sorted(whole.items()):
            if name == dimension:
                lines.append(f"| {dimension} | {value} | {few[name, value]} | {count} |")
    lines.append(f"| all | | {len(chosen)} | {len(all_items)} |")
    return "\n".join(lines)


def _count(items: Sequence[Mapping[str, str]]) -> Counter[tuple[str, str]]:
    return Counter(
        (dimension, item[dimension])
        for item in items
        for dimension in DIMENSIONS
        if dimension in item
    )
