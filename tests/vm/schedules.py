# SPDX-License-Identifier: Apache-2.0
"""Contract: two hosts do something at once, and whatever the order in which lines reach the shared
memory and come from it, both end as they may, see afterwards what was made, and nothing is damaged.

`make test-schedules` runs these; the name keeps them out of the suite. What does not hold leaves a
schedule, which `famlab replay` plays again. FULL=1 plays all orders of at most four turns; without
it those in which the client does all it does at some point of the master's, and others by SEED.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import pytest
from famlab_vm.coherence import TURNSTILE, Memory
from famlab_vm.schedule import Command, Outcome, Place, Played, Schedule
from famlab_vm.turns import Kind, Turn, turnstiles_of
from support import paths, selection
from support.media import DEFAULT_LOG_LENGTH, LOG_OFFSET
from vm import coherence
from vm.cluster import MOUNT_POINT
from vm.crash_states import LINE
from vm.labs import LabKeeper, TestLab
from vm.shapes import Shape

pytestmark = pytest.mark.timeout(selection.amount(7200, 600))

MOST_ORDERS = selection.amount(1 << 30, 60)
# By how much a play is dearer for which a file system is made.
DEAR = 4
# Superblock and log are below this line.
LINES = (LOG_OFFSET + DEFAULT_LOG_LENGTH) // LINE

MASTER, CLIENT = "host0", "host1"
# What one fence completes reaches the memory in any order.
SHUFFLE = "strict,shuffle"

Note = Callable[[str, object], None]


def on(host: str, *argv: str) -> Command:
    """May end with any status: it is to leave a state, whatever there was."""
    return Command(host, argv, statuses=())


@dataclass(frozen=True)
class Pair:
    """What the master and the client do at once. In all words `{}` is a name that is another one in
    each play, `{dev0}` the first device, `{dev1}` the second.
    """

    master: tuple[str, ...]
    client: tuple[str, ...]
    # What both hosts say of it afterwards; None: anything.
    look: tuple[str, ...]
    both_say: str | None
    client_may: tuple[int, ...] = (0,)
    master_may: tuple[int, ...] = (0,)
    # Once, before each play, and after each before both look.
    first: tuple[Command, ...] = ()
    before: tuple[Command, ...] = ()
    after: tuple[Command, ...] = ()
    # Before each play the file system is made anew, so that what came earlier is of no account.
    anew: bool = False
    # Errors that the daemons may log.
    errors: str = ""
    lines: int = LINES
    devices: int = 1


MOUNT = ("famfs", "mount", "{dev0}", MOUNT_POINT)
UMOUNT = ("famfs", "umount", MOUNT_POINT)
MKFS = ("mkfs.famfs", "--force", "{dev0}")
BOTH_MOUNT = tuple(Command(host, MOUNT) for host in (MASTER, CLIENT))
MADE = (Command(MASTER, MKFS), *BOTH_MOUNT)
MADE_ANEW = (on(CLIENT, *UMOUNT), on(MASTER, *UMOUNT), *MADE)
OLD = f"{MOUNT_POINT}/old"
MAKE_OLD = Command(MASTER, ("famfs", "creat", "-r", "-S", "1", "-s", "70000", OLD))
WIDE = ("--nstrips", "2", "--nbuckets", "2", "--chunksize", "2M")
# Two hosts that both have the identity of the master.
SAME = ("sh", "-c", "echo 11111111-2222-4333-8444-555555555555 >/opt/famfs/system_uuid")

PAIRS = {
    "mkdir with lookup": Pair(
        ("famfs", "mkdir", "{}"), ("stat", "-c", "%F", "{}"),
        ("stat", "-c", "%F", "{}"), "directory\n", client_may=(0, 1), first=MADE,
    ),
    "creat with lookup": Pair(
        ("famfs", "creat", "-s", "70000", "{}"), ("stat", "-c", "%s", "{}"),
        ("stat", "-c", "%s", "{}"), "70000\n", client_may=(0, 1), first=MADE,
    ),
    "creat of several with replay": Pair(
        ("famfs", "creat", *(word for n in range(5) for word in ("--multi", f"{{}}.{n},5000"))),
        ("famfs", "logplay", MOUNT_POINT),
        ("sh", "-c", "ls -d {}.* | wc -l"), "5\n", first=MADE,
    ),
    # Each has its file or has been told that it is not alone; one may have replaced the other's.
    "creat with creat of a second master": Pair(
        ("famfs", "creat", "-s", "70000", "{}.a"), ("famfs", "creat", "-s", "70000", "{}.b"),
        ("famfs", "fsck", MOUNT_POINT), None,
        client_may=(0, errno.EROFS), master_may=(0, errno.EROFS),
        first=(Command(MASTER, SAME), Command(CLIENT, SAME)), before=MADE_ANEW,
        after=(Command(CLIENT, UMOUNT), Command(MASTER, UMOUNT), *BOTH_MOUNT),
        anew=True, errors="another master",
    ),
    "mkfs with replay": Pair(
        MKFS, ("famfs", "logplay", MOUNT_POINT),
        ("ls", MOUNT_POINT), "", client_may=(0, errno.ESTALE),
        before=(*MADE_ANEW, MAKE_OLD, Command(MASTER, UMOUNT)),
        after=(Command(CLIENT, UMOUNT), *BOTH_MOUNT), anew=True, errors="formatted anew",
        lines=(LOG_OFFSET + 4096) // LINE,
    ),
    "devadd with open": Pair(
        ("famfs", "devadd", "--force", MOUNT_POINT, "{dev1}"),
        ("famfs", "verify", "-S", "1", "-f", OLD),
        ("famfs", "verify", "-S", "2", "-f", f"{MOUNT_POINT}/wide"), None,
        before=(*MADE_ANEW, MAKE_OLD),
        after=(
            Command(
                MASTER,
                ("famfs", "creat", "-r", "-S", "2", "-s", "7m", *WIDE, f"{MOUNT_POINT}/wide"),
            ),
        ),
        anew=True, devices=2,
    ),
    "pcq put with get": Pair(
        ("pcq", "--producer", "-N", "1", "-S", "1", "{}"),
        ("pcq", "--consumer", "--drain", "-S", "1", "{}"),
        ("sh", "-c", "pcq --info {} && famfs fsck " + MOUNT_POINT), None, first=MADE,
        before=(
            Command(MASTER, ("pcq", "--create", "-b", "128", "-n", "8", "{}")),
            Command(MASTER, ("pcq", "--setperm", "p", "{}")),
            Command(CLIENT, ("pcq", "--setperm", "c", "{}")),
        ),
        after=(Command(CLIENT, ("pcq", "--consumer", "--drain", "-S", "1", "{}")),),
        lines=(1 << 40) // LINE,
    ),
}  # fmt: skip


def no_errors(allowed: str) -> tuple[str, ...]:
    """A daemon that met something that it did not expect says so."""
    words = f"grep -v '{allowed}' |" if allowed else ""
    return ("sh", "-c", f"! cat /run/famfs/*/famfsd.log | {words} grep '\\[error\\]'")


class Plays:
    """The plays of a pair, on these devices."""

    def __init__(self, pair: Pair, place: Place, devices: Sequence[str]) -> None:
        self.pair = pair
        self._place = place
        self._devices = devices

    def _words(self, number: int, argv: Sequence[str]) -> tuple[str, ...]:
        names = {"{}": f"{MOUNT_POINT}/n{number}"}
        names |= {f"{{dev{index}}}": path for index, path in enumerate(self._devices)}
        found = []
        for word in argv:
            for name, value in names.items():
                word = word.replace(name, value)
            found.append(word)
        return tuple(found)

    def _all(self, number: int, commands: Iterable[Command]) -> list[Command]:
        return [replace(one, argv=self._words(number, one.argv)) for one in commands]

    def before(self, number: int) -> list[Command]:
        """What comes between the play before and this one."""
        return self._all(number, self.pair.before)

    def as_if_all(self, number: int) -> list[Command]:
        """What leaves a fresh lab as the plays before this one do."""
        where = [Command(host, ("mkdir", "-p", MOUNT_POINT)) for host in (MASTER, CLIENT)]
        made = self._all(0, (*where, *self.pair.first))
        if not self.pair.anew:
            for play in range(number):
                made += [*self.before(play), *self._all(play, [on(MASTER, *self.pair.master)])]
        return [*made, *self.before(number)]

    def schedule(
        self, number: int, turns: tuple[Turn, ...], prepare: Sequence[Command]
    ) -> Schedule:
        """A play; without turns, one after the other."""
        pair = self.pair
        look = [Command(host, pair.look, stdout=pair.both_say) for host in (CLIENT, MASTER)]
        quiet = [Command(host, no_errors(pair.errors)) for host in (CLIENT, MASTER)]
        together = (
            Command(MASTER, pair.master, pair.master_may),
            Command(CLIENT, pair.client, pair.client_may),
        )
        return Schedule(
            self._place,
            prepare=prepare,
            together=self._all(number, together),
            turns=turns,
            held={MASTER: int(Kind.COMMITS), CLIENT: int(Kind.FETCHES)},
            lines=pair.lines,
            afterwards=self._all(number, (*pair.after, *look, *quiet)),
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


def choose(commits: int, fetches: int, most: int) -> tuple[list[Order], int]:
    """All of the first kind, then of the second, by SEED where they are too many; and how many
    there are.
    """
    chance = random.Random(int(os.environ["SEED"]))
    chosen: list[Order] = []
    count = 0
    for kind in (whole(commits), parts(commits, fetches)):
        count += len(kind)
        room = min(most - len(chosen), len(kind))
        chosen += [kind[index] for index in sorted(chance.sample(range(len(kind)), room))]
    return chosen, count


@pytest.fixture
def lab_of_turns(keeper: LabKeeper, shape: Shape) -> Iterator[TestLab]:
    """Of its own, in which passages can be held."""
    coherence.require_caches()
    memory = Memory(f"{SHUFFLE},seed={os.environ['SEED']}", TURNSTILE)
    with keeper.apart(shape, memory=memory) as lab:
        yield lab


@pytest.fixture
def at_once(
    request: pytest.FixtureRequest, lab_of_turns: TestLab, record_property: Note
) -> Callable[[Pair], None]:
    """Plays a pair on the lab."""
    return lambda pair: play_all(request, lab_of_turns, pair, record_property)


def play_all(
    request: pytest.FixtureRequest, lab: TestLab, pair: Pair, record_property: Note
) -> None:
    """Every point of the master's commits, with all or a part of what the client fetches."""
    shape = lab.shape
    hosts = {host.name: host for host in lab.hosts}

    def run(host: str, argv: object) -> Outcome:
        return hosts[host].run(argv, check=False)  # type: ignore[arg-type]

    memory = lab.hosts[0].guest.description.coherence
    place = Place(shape.hosts, shape.topology, shape.dax, str(memory))
    plays = Plays(pair, place, [device.path for device in lab.devices()])
    files = {name: host.guest.description.cache_files for name, host in hosts.items()}
    with turnstiles_of(files) as turnstiles:

        def play(schedule: Schedule) -> Played:
            schedule.make_ready(run)
            return schedule.play(run, turnstiles)

        # One after the other, and the other way round: the client may have more to do before.
        alone = [
            play(plays.schedule(0, (), plays.as_if_all(0))),
            play(plays.schedule(1, (Turn(CLIENT), Turn(MASTER)), plays.before(1))),
        ]
        assert not [complaint for played in alone for complaint in played.complaints]
        commits, fetches = (
            max(played.passed[host] for played in alone) for host in (MASTER, CLIENT)
        )
        chosen, count = choose(commits, fetches, MOST_ORDERS // (DEAR if pair.anew else 1))
        record_property(
            "seen", f"{commits} commits, {fetches} fetches, {count} orders, {len(chosen)} played"
        )
        for number, turns in enumerate(chosen, len(alone)):
            schedule = plays.schedule(number, turns, plays.before(number))
            if complaints := play(schedule).complaints:
                folder = paths.results_directory() / paths.folder_name(request.node.nodeid)
                path = folder / "schedule.json"
                replace(schedule, prepare=plays.as_if_all(number)).save(path)
                said = "\n".join(complaints)
                raise AssertionError(f"{said}\nin the order of vm/famlab replay {path}")
    hosts[MASTER].run(["famfs", "fsck", MOUNT_POINT])
    for name in hosts:
        hosts[name].run(UMOUNT)


def _of(devices: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "pair",
        [
            pytest.param(
                pair,
                id=name,
                marks=[pytest.mark.expects_daemon_errors(pair.errors)] if pair.errors else [],
            )
            for name, pair in PAIRS.items()
            if pair.devices == devices
        ],
    )


@_of(devices=1)
@pytest.mark.shapes(hosts=(2,), dax=("device_dax", "fsdev_dax"))
def test_at_once(at_once: Callable[[Pair], None], pair: Pair) -> None:
    """On one device."""
    at_once(pair)


@_of(devices=2)
@pytest.mark.shapes(
    hosts=(2,), topologies=("two-bridges",), dax=("device_dax", "fsdev_dax"), only=True
)
def test_at_once_with_two_devices(at_once: Callable[[Pair], None], pair: Pair) -> None:
    """On two."""
    at_once(pair)
