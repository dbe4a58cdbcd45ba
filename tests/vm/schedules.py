# SPDX-License-Identifier: Apache-2.0
"""Contract: two hosts do something at once, and whatever the order in which lines reach the shared
memory and come from it, both end as they may, see afterwards what was made, and nothing is damaged.

`make test-schedules` runs these; the name keeps them out of the suite. What does not hold leaves a
schedule, which `famlab replay` plays again. FULL=1 plays all orders of at most four turns; without
it those in which the client does all it does at some point of the master's, and others by SEED.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from famlab_vm.coherence import TURNSTILE, Memory
from famlab_vm.schedule import Command, Outcome, Place, Schedule
from famlab_vm.turns import Kind, Turn, turnstiles_of
from support import paths, selection
from support.media import DEFAULT_LOG_LENGTH, LOG_OFFSET
from vm import coherence
from vm.cluster import MOUNT_POINT
from vm.crash_states import LINE
from vm.labs import LabKeeper, TestLab
from vm.shapes import Shape

pytestmark = [
    pytest.mark.timeout(selection.amount(7200, 600)),
    pytest.mark.shapes(hosts=(2,), dax=("device_dax", "fsdev_dax")),
]

MOST_ORDERS = selection.amount(1 << 30, 60)
# Superblock and log are below this line.
LINES = (LOG_OFFSET + DEFAULT_LOG_LENGTH) // LINE

MASTER, CLIENT = "host0", "host1"
# What one fence completes reaches the memory in any order.
SHUFFLE = "strict,shuffle"

Note = Callable[[str, object], None]


@dataclass(frozen=True)
class Pair:
    """What the master and the client do at once; `{}` is another name in each order."""

    master: tuple[str, ...]
    client: tuple[str, ...]
    client_may: tuple[int, ...]
    # What both hosts say of it afterwards.
    look: tuple[str, ...]
    both_say: str


PAIRS = {
    "mkdir with lookup": Pair(
        ("famfs", "mkdir", "{}"), ("stat", "-c", "%F", "{}"), (0, 1),
        ("stat", "-c", "%F", "{}"), "directory\n",
    ),
    "creat with lookup": Pair(
        ("famfs", "creat", "-s", "70000", "{}"), ("stat", "-c", "%s", "{}"), (0, 1),
        ("stat", "-c", "%s", "{}"), "70000\n",
    ),
    "creat of several with replay": Pair(
        ("famfs", "creat", *(word for n in range(5) for word in ("--multi", f"{{}}.{n},5000"))),
        ("famfs", "logplay", MOUNT_POINT), (0,),
        ("sh", "-c", "ls -d {}.* | wc -l"), "5\n",
    ),
}  # fmt: skip

# A daemon that met something that it did not expect says so.
NO_ERRORS = ("sh", "-c", "! grep -h '\\[error\\]' /run/famfs/*/famfsd.log")


def mounted(device: str) -> list[Command]:
    """A file system that both hosts have mounted."""
    return [
        Command(MASTER, ("mkfs.famfs", "--force", device)),
        *(
            Command(host, words)
            for host in (MASTER, CLIENT)
            for words in (("mkdir", "-p", MOUNT_POINT), ("famfs", "mount", device, MOUNT_POINT))
        ),
    ]


def in_play(number: int, words: tuple[str, ...]) -> tuple[str, ...]:
    """Words of a pair, with the name that is this play's own."""
    return tuple(word.replace("{}", f"{MOUNT_POINT}/n{number}") for word in words)


def before_play(pair: Pair, device: str, number: int) -> list[Command]:
    """What leaves a file system as so many plays do."""
    made = [Command(MASTER, in_play(play, pair.master)) for play in range(number)]
    return [*mounted(device), *made]


def schedule_of(
    pair: Pair, place: Place, number: int, turns: tuple[Turn, ...] = ()
) -> Schedule:
    """A play of the pair where it is prepared; without turns, one after the other."""

    def on(host: str, words: tuple[str, ...], **allowed: object) -> Command:
        return Command(host, in_play(number, words), **allowed)  # type: ignore[arg-type]

    return Schedule(
        place,
        prepare=(),
        together=(on(MASTER, pair.master), on(CLIENT, pair.client, statuses=pair.client_may)),
        turns=turns,
        held={MASTER: int(Kind.COMMITS), CLIENT: int(Kind.FETCHES)},
        lines=LINES,
        afterwards=[
            *(on(host, pair.look, stdout=pair.both_say) for host in (CLIENT, MASTER)),
            *(on(host, NO_ERRORS) for host in (CLIENT, MASTER)),
        ],
    )


Order = tuple[Turn, ...]


def whole(commits: int) -> list[Order]:
    """At each point of what the master does the client does all it does."""
    return [(Turn(MASTER, before), Turn(CLIENT)) for before in range(commits + 1)]


def parts(commits: int, fetches: int) -> list[Order]:
    """At each point a part of it; then the master goes on to its end, or for a while."""
    found: list[Order] = [
        (Turn(MASTER, before), Turn(CLIENT, part), Turn(MASTER))
        for before, part in itertools.product(range(commits), range(1, fetches))
    ]
    found += [
        (Turn(MASTER, before), Turn(CLIENT, part), Turn(MASTER, then), Turn(CLIENT))
        for before, part in itertools.product(range(commits), range(1, fetches))
        for then in range(1, commits - before)
    ]
    return found


def choose(commits: int, fetches: int) -> tuple[list[Order], int]:
    """All of the first kind and, by SEED, of the second; and how many there are."""
    first, rest = whole(commits), parts(commits, fetches)
    count = len(first) + len(rest)
    room = max(0, MOST_ORDERS - len(first))
    if len(rest) > room:
        chance = random.Random(int(os.environ["SEED"]))
        rest = [rest[index] for index in sorted(chance.sample(range(len(rest)), room))]
    return [*first, *rest], count


@pytest.fixture
def lab_of_turns(keeper: LabKeeper, shape: Shape) -> Iterator[TestLab]:
    """Of its own, in which passages can be held."""
    coherence.require_caches()
    memory = Memory(f"{SHUFFLE},seed={os.environ['SEED']}", TURNSTILE)
    with keeper.apart(shape, memory=memory) as lab:
        yield lab


@pytest.mark.parametrize("pair", list(PAIRS))
def test_at_once(
    request: pytest.FixtureRequest,
    lab_of_turns: TestLab,
    shape: Shape,
    pair: str,
    record_property: Note,
) -> None:
    """Every point of the master's commits, with all or a part of what the client fetches."""
    lab = lab_of_turns
    hosts = {host.name: host for host in lab.hosts}

    def run(host: str, argv: object) -> Outcome:
        return hosts[host].run(argv, check=False)  # type: ignore[arg-type]

    memory = lab.hosts[0].guest.description.coherence
    place = Place(shape.hosts, shape.topology, shape.dax, str(memory))
    device = lab.devices()[0].path
    files = {name: host.guest.description.cache_files for name, host in hosts.items()}
    with turnstiles_of(files) as turnstiles:
        first = schedule_of(PAIRS[pair], place, 0)
        replace(first, prepare=before_play(PAIRS[pair], device, 0)).make_ready(run)
        alone = first.play(run, turnstiles)
        assert not alone.complaints
        commits, fetches = alone.passed[MASTER], alone.passed[CLIENT]
        chosen, count = choose(commits, fetches)
        record_property(
            "seen", f"{commits} commits, {fetches} fetches, {count} orders, {len(chosen)} played"
        )
        for number, turns in enumerate(chosen, 1):
            schedule = schedule_of(PAIRS[pair], place, number, turns)
            played = schedule.play(run, turnstiles)
            if played.complaints:
                folder = paths.results_directory() / paths.folder_name(request.node.nodeid)
                path = folder / "schedule.json"
                replace(schedule, prepare=before_play(PAIRS[pair], device, number)).save(path)
                complaints = "\n".join(played.complaints)
                raise AssertionError(f"{complaints}\nin the order of vm/famlab replay {path}")
    hosts[MASTER].run(["famfs", "fsck", MOUNT_POINT])
    for name in hosts:
        hosts[name].run(["famfs", "umount", MOUNT_POINT])
