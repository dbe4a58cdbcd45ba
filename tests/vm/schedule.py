# SPDX-License-Identifier: Apache-2.0
"""Which worker of pytest-xdist runs what: tests that share a lab and a mount go to one worker, in
pieces, as far as all have work.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from vm.mapping import ALL_METHODS
from vm.shapes import driver_in, lab_in
from xdist.scheduler import LoadScopeScheduling

# Tests of one lab, driver and method that go to a worker at once.
_PIECE = 8


def method_in(node_id: str) -> str:
    """The mapping method that the id of a test names; empty if it has none."""
    parameters = node_id.partition("[")[2]
    return next((name for name in ALL_METHODS if name in parameters), "")


class LabScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A worker goes on with the lab it has, or takes that of which most is left."""

    def __init__(self, config: Any, log: Any) -> None:
        super().__init__(config, log)
        self._piece_of: dict[str, str] = {}
        self._sizes: Counter[str] = Counter()
        self._lab_of_worker: dict[Any, str] = {}

    def _split_scope(self, nodeid: str) -> str:
        if nodeid not in self._piece_of:
            lab = lab_in(nodeid)
            # Without a shape a test has labs of its own, or shares one with its module.
            rest = f"{driver_in(nodeid)}/{method_in(nodeid)}" if lab else nodeid.partition("::")[0]
            group = f"{lab}/{rest}"
            self._piece_of[nodeid] = f"{group}/{self._sizes[group] // _PIECE}"
            self._sizes[group] += 1
        return self._piece_of[nodeid]

    def _assign_work_unit(self, node: Any) -> None:
        left: Counter[str] = Counter()
        for piece, tests in self.workqueue.items():
            left[piece.partition("/")[0]] += len(tests)
        lab = self._lab_of_worker.get(node, "none yet")
        if lab not in left:
            others = set(self._lab_of_worker.values())
            free = {name: count for name, count in left.items() if name not in others} or left
            lab = max(free, key=lambda name: free[name])
        self._lab_of_worker[node] = lab
        piece = next(name for name in self.workqueue if name.partition("/")[0] == lab)
        self.workqueue.move_to_end(piece, last=False)
        super()._assign_work_unit(node)
