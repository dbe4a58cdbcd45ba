# SPDX-License-Identifier: Apache-2.0
"""Contract: whatever the processors of a host store, flush and fence at once, and whichever pages
leave its caches meanwhile, no store is lost, and what is written back is what another host sees.

TORTURE says for how many seconds.
"""

from __future__ import annotations

import os

import pytest
from famlab_vm.coherence import Memory
from support import guest
from vm.coherence import require_caches
from vm.labs import LabKeeper
from vm.shapes import Shape

SECONDS = int(os.environ.get("TORTURE") or 5)
OFFSET = 1 << 30
PAGES = 1024  # four times what the caches hold

pytestmark = [pytest.mark.of_the_lab, pytest.mark.timeout(300 + 4 * SECONDS)]


@pytest.mark.parametrize("policy", ["strict", "strict,evict", "strict,shuffle", "lenient"])
def test_no_store_is_lost(keeper: LabKeeper, policy: str) -> None:
    require_caches()
    memory = Memory(f"{policy},capacity=1,seed={os.environ['SEED']}")
    with keeper.apart(Shape(cpus=4), memory=memory) as lab:
        device = lab.devices()[0].path
        words = [guest.program("torture"), device, str(OFFSET), str(PAGES)]
        one, other = lab.hosts
        tortured = one.run([*words, str(SECONDS), os.environ["SEED"]], timeout=60 + 4 * SECONDS)
        steps, total = tortured.text.splitlines()
        assert int(steps.split()[0]) > 10_000
        assert other.run(words).text.strip() == total
        counters = one.guest.description.cache_files.read_counters()
        assert counters["dropped"] > 1000 and counters["commits"] > 1000, counters
