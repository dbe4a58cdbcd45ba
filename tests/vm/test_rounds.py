# SPDX-License-Identifier: Apache-2.0
"""Contract: whoever dies at whatever moment, host or daemon, master or client, several at once,
while files are made, copied and read: who lives goes on, who died comes back, the file system is
clean, and every file that was called made or copied is whole on every host.

ROUNDS says how many rounds, SEED which ones.
"""

from __future__ import annotations

import os

import pytest
from support import paths, selection
from vm.cluster import Cluster
from vm.rounds import Rounds
from vm.shapes import Shape

pytestmark = pytest.mark.own_mount

COUNT = int(os.environ.get("ROUNDS") or selection.amount(6, 1))


@pytest.mark.timeout(300 + 120 * COUNT)
@pytest.mark.shapes(hosts=(3,), fewest=2, dax=selection.one_of("device_dax", "fsdev_dax"))
def test_rounds_of_sudden_death(cluster: Cluster, shape: Shape) -> None:
    """As many as ROUNDS says, on one cluster; a new file system now and then."""
    directory = paths.run_directory() / "sources"
    directory.mkdir()
    try:
        Rounds(cluster, int(os.environ["SEED"]), directory).run(COUNT)
    finally:
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()
