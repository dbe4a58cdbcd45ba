# SPDX-License-Identifier: Apache-2.0
"""Contract: hosts that are not coherent see of each other what the model allows, no more and no
less: each litmus program of vm/noncoherent/litmus shows allowed outcomes only, and a wrong one
shows under `strict` what is wrong with it; and blame names both places of it, and nothing of a
right one.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from famlab_vm.blame import BlamedLab, Finding
from famlab_vm.blame_report import as_text
from famlab_vm.code_places import Place
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

# What of litmus.cpp does a step.
CODE = {
    "store": "*word(memory, place) = place.value",
    "load": "loaded.push_back(uint64_t{*word(memory, place)})",
    "nt": "_mm_stream_si64(",
}


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


def offset_of(name: str, run: int) -> int:
    """Memory that no run has used before: zero, and in no cache."""
    return FIRST_OFFSET + (list(PROGRAMS).index(name) * RUNS + run) * MAPPED


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_program(litmus_lab: TestLab, policy: str, name: str) -> None:
    program = PROGRAMS[name]
    allowed = program[policy]
    awaited = program.get("must_see") if policy == "strict" else None
    seen = []
    for run in range(RUNS):
        seen.append(run_once(litmus_lab, program["phases"], offset_of(name, run)))
        assert seen[-1] in allowed, f"seen {seen[-1]!r}; allowed {allowed}"
        if awaited is None or awaited == seen[-1]:
            break
    assert awaited is None or awaited in seen, f"never seen: {awaited!r}; seen {set(seen)}"


@pytest.fixture(scope="module")
def watched_lab(keeper: LabKeeper) -> Iterator[TestLab]:
    """Two hosts whose accesses are watched."""
    with keeper.apart(Shape(), memory=Memory("strict,seed=1", blame=True)) as lab:
        yield lab


def line_of_code(step: str) -> str:
    """FILE:LINE of what does it."""
    text = (paths.REPOSITORY / "vm" / "noncoherent" / "litmus" / "litmus.cpp").read_text()
    code = CODE[step.partition(":")[0]]
    [number] = [n for n, line in enumerate(text.splitlines(), start=1) if code in line]
    return f"vm/noncoherent/litmus/litmus.cpp:{number}"


def is_at(place: Place, step: str) -> bool:
    """Whether that is what the processor did there: itself, or inlined from a header."""
    return line_of_code(step) in [frame.line for frame in place.frames[:2]]


def shows(finding: Finding, offset: int, here: str, other: str) -> bool:
    """Whether these are its hosts, its line of the memory, and its places in litmus.cpp."""
    host, step = here.split()
    writer, store = other.split()
    line = int(step.partition(":")[2].partition(".")[0])
    return (
        finding.host == host and finding.other == writer and finding.offset == offset + line * 64
        and finding.here.program == finding.stored.program == "litmus"
        and is_at(finding.here, step) and is_at(finding.stored, store)
    )  # fmt: skip


def test_blame_names_what_is_wrong_and_nothing_else(watched_lab: TestLab) -> None:
    last = {}
    for name, program in PROGRAMS.items():
        for run in range(RUNS):
            last[name] = offset_of(name, run)
            seen = run_once(watched_lab, program["phases"], last[name])
            if program.get("must_see", seen) == seen:
                break
    findings = BlamedLab.of(watched_lab.lab.state).findings(once=False)
    problems = []
    for name, program in PROGRAMS.items():
        of_it = [one for one in findings if 0 <= one.offset - last[name] < MAPPED]
        blame = program.get("blame", {"wrong": [], "places": []})
        for one in of_it:
            if one.wrong not in blame["wrong"] or not any(
                shows(one, last[name], *places) for places in blame["places"]
            ):
                problems.append(f"{name}: {as_text([one])}")
        if blame["wrong"] and not of_it:
            problems.append(f"{name}: nothing was found")
    assert not problems, "\n".join(problems)
