# SPDX-License-Identifier: Apache-2.0
"""Contract: hosts that are not coherent see of each other what the model allows, no more and no
less: each litmus program of vm/noncoherent/litmus shows allowed outcomes only, and a wrong one
shows under `strict` what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from famlab_vm.coherence import Memory
from support import guest, paths
from vm.labs import LabKeeper, TestLab
from vm.shapes import Shape

pytestmark = pytest.mark.of_the_lab

PROGRAMS: dict[str, dict[str, Any]] = yaml.safe_load(
    (paths.REPOSITORY / "vm" / "noncoherent" / "litmus" / "programs.yaml").read_text()
)
HOSTS = ("host0", "host1")
# A program that races with the guests' timers shows what it has to in one of so many runs.
RUNS = 20
# Beyond what famfs has at the start of the device; another one for each run.
FIRST_OFFSET = 1 << 30
MAPPED = 2 << 20

Phase = dict[str, list[str]]


@pytest.fixture(scope="module", params=["strict", "lenient"])
def policy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def litmus_lab(keeper: LabKeeper, policy: str) -> Iterator[TestLab]:
    """Two hosts of that policy, whatever MEMORY says."""
    with keeper.apart(Shape(), memory=Memory(f"{policy},seed=1")) as lab:
        yield lab


def run_once(lab: TestLab, phases: list[Phase], offset: int) -> str:
    """What host0 loaded, "/", what host1 loaded."""
    loaded = {name: "" for name in HOSTS}
    device = lab.devices()[0].path

    def run(name: str, steps: list[str]) -> None:
        host = lab.hosts[HOSTS.index(name)]
        done = host.run([guest.program("litmus"), device, str(offset), *steps])
        loaded[name] += done.stdout.decode()

    with ThreadPoolExecutor(len(HOSTS)) as pool:
        for phase in phases:
            for job in [pool.submit(run, name, steps) for name, steps in phase.items()]:
                job.result()
    return " ".join(f"{loaded['host0']} / {loaded['host1']}".split())


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_program(litmus_lab: TestLab, policy: str, name: str) -> None:
    program = PROGRAMS[name]
    allowed = program[policy]
    awaited = program.get("must_see") if policy == "strict" else None
    number = list(PROGRAMS).index(name)
    seen = []
    for run in range(RUNS):
        # Memory that no run has used before: zero, and in no cache.
        offset = FIRST_OFFSET + (number * RUNS + run) * MAPPED
        seen.append(run_once(litmus_lab, program["phases"], offset))
        assert seen[-1] in allowed, f"seen {seen[-1]!r}; allowed {allowed}"
        if awaited is None or awaited == seen[-1]:
            break
    assert awaited is None or awaited in seen, f"never seen: {awaited!r}; seen {set(seen)}"
