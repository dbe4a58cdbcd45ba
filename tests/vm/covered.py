# SPDX-License-Identifier: Apache-2.0
"""The table of what is covered: how many tests each value of each dimension has, in the choice that
`make test-vm` runs and with FULL=1. Made from the collected tests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

# In this order; a parameter that only one test has is no dimension of the suite.
DIMENSIONS = ("contract", "topology", "hosts", "cpus", "dax", "method", "kind")


def _with_contract(item: Mapping[str, str]) -> dict[str, str]:
    module = item["test"].partition("::")[0].rpartition("/")[2]
    return {**item, "contract": module.removeprefix("test_").removesuffix(".py")}


def table(all_items: Sequence[Mapping[str, str]], chosen: Sequence[Mapping[str, str]]) -> str:
    """Markdown: a row for each value."""
    whole, few = (
        Counter(
            (dimension, item[dimension])
            for item in map(_with_contract, items)
            for dimension in DIMENSIONS
            if dimension in item
        )
        for items in (all_items, chosen)
    )
    lines = ["| dimension | value | make test-vm | FULL=1 |", "|---|---|---|---|"]
    for dimension in DIMENSIONS:
        for (name, value), count in sorted(whole.items()):
            if name == dimension:
                lines.append(f"| {dimension} | {value} | {few[name, value]} | {count} |")
    lines.append(f"| all | | {len(chosen)} | {len(all_items)} |")
    return "\n".join(lines)
