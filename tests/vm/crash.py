# SPDX-License-Identifier: Apache-2.0
"""Contract: a host may die at any moment of what it does, with any of its dirty lines evicted
before. Who lives on has what there was and of the new a beginning; the host comes back, has at
least what others have seen, and goes on; the file system is sound.

`make test-crash` runs these; the name keeps them out of the suite. A lab does each operation once
and records what reaches the memory; the states that this can leave (vm/crash_states.py) are judged
one by one (vm/crash_judge.py).

FULL=1 judges all; without it, of each operation one of those that are alike in what they leave of
superblock and log, and by SEED others, 60 together.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from famfs_verbs import MEBI, Famfs, random_bytes
from famlab_vm.coherence import RECORD, Memory
from support import selection
from support.media import DEFAULT_LOG_LENGTH, LOG_OFFSET, set_counters
from vm import coherence
from vm.cluster import UUID_FILE, Cluster
from vm.crash_judge import Judge, copy_of
from vm.crash_states import LINE, Lines, Record, states
from vm.labs import LabKeeper, TestLab
from vm.shapes import Shape

MOST_JUDGED = selection.amount(1 << 30, 60)

# Superblock and log are before these.
FILES = LOG_OFFSET + DEFAULT_LOG_LENGTH

OLD = random_bytes(70_001, 1)
NEW = random_bytes(100_003, 2)
INTERLEAVED = ("--nstrips", "3", "--nbuckets", "4", "--chunksize", "2M")

Note = Callable[[str, object], None]

pytestmark = pytest.mark.timeout(selection.amount(7200, 600))


@dataclass(frozen=True)
class Scene:
    """The host that is to die, with a file system in which something is."""

    lab: TestLab
    master: Famfs
    devices: list[str]


def _nothing(scene: Scene) -> None:
    pass


def _umount(scene: Scene) -> None:
    scene.master.umount()


def _umount_and_forget_an_entry(scene: Scene) -> None:
    """The counters say less than there is."""
    scene.master.umount()
    set_counters(scene.lab.memory_file(), 1, 1)


def _create_several(scene: Scene) -> None:
    names = [f"{scene.master.path(f'new{number}')},5000" for number in range(6)]
    scene.master.famfs("creat", *(word for name in names for word in ("--multi", name)))


@dataclass(frozen=True)
class Operation:
    """What the host does, once it is prepared."""

    act: Callable[[Scene], object]
    prepare: Callable[[Scene], None] = _nothing
    remakes: bool = False  # the file system
    promised: tuple[str, ...] = ()  # files whose contents are there once it has ended
    devices: int = 1


OPERATIONS = {
    "mkfs": Operation(lambda scene: scene.master.mkfs(), _umount, remakes=True),
    "creat": Operation(
        lambda scene: scene.master.creat("new", 70_000, "--randomize", "--seed", "3"),
        promised=("new",),
    ),
    "creat interleaved": Operation(
        lambda scene: scene.master.creat("new", 7 * MEBI, *INTERLEAVED)
    ),
    "creat several": Operation(_create_several),
    "cp": Operation(lambda scene: scene.master.put("new", NEW), promised=("new",)),
    "mkdir": Operation(lambda scene: scene.master.mkdir("new/deep/deeper", "-p")),
    "repair": Operation(
        lambda scene: scene.master.fsck("--repair=apply", "--save", "/run/saved.json"),
        _umount_and_forget_an_entry,
    ),
    "devadd": Operation(
        lambda scene: scene.master.famfs("devadd", scene.master.mount_point, scene.devices[1]),
        devices=2,
    ),
}


@pytest.fixture
def scene(keeper: LabKeeper, shape: Shape) -> Iterator[Scene]:
    """In a lab of its own, which records."""
    policy = coherence.require_caches().policy
    with keeper.apart(shape, memory=Memory(policy, RECORD)) as lab:
        devices = [device.path for device in lab.devices()]
        master = Cluster(lab, devices[0]).make_and_mount().master
        master.mkdir("d")
        master.put("d/old", OLD)
        yield Scene(lab, master, devices)


def choose(found: list[Lines], chance: random.Random) -> list[Lines]:
    """Of states that differ in files alone one stands for all, before the rest has its turn."""
    if len(found) <= MOST_JUDGED:
        return found
    alike: dict[object, list[int]] = {}
    for index, state in enumerate(found):
        of_log = frozenset(item for item in state.items() if item[0][1] < FILES // LINE)
        alike.setdefault(of_log, []).append(index)
    firsts = [chance.choice(indices) for indices in alike.values()]
    rest = list(set(range(len(found))).difference(firsts))
    for indices in (firsts, rest):
        chance.shuffle(indices)
    return [found[index] for index in sorted((firsts + rest)[:MOST_JUDGED])]


def judge_all(scene: Scene, operation: Operation, directory: Path, note: Note) -> None:
    """Does the operation and judges what it can leave."""
    seed = int(os.environ["SEED"])
    operation.prepare(scene)
    record = Record(scene.lab.hosts[0].guest.description.cache_files.record)
    files = {number: scene.lab.memory_file(f"mem{number}") for number in range(operation.devices)}
    before = copy_of(files, directory / "before")
    record.begin()
    operation.act(scene)
    moments = record.moments()
    found = states(before, moments, seed)
    chosen = choose(found, random.Random(seed))
    seen = f"{len(moments)} commits, {len(found)} states, {len(chosen)} judged"
    if record.left_out:
        seen += f"; {record.left_out} dirty lines were too many to be tried"
    note("seen", seen)

    identity = scene.master.run("cat", UUID_FILE).stdout.decode().strip()
    judge = Judge(directory, before, identity)
    old, new = judge.sight_of({}), judge.sight_of(found[-1])
    for name in operation.promised:
        assert new.digests[name] == scene.master.sha256(name)[name]
    for state in chosen:
        if operation.remakes:
            judge.remade(state, old)
        else:
            judge.between(state, old, new)


def _of(devices: int) -> pytest.MarkDecorator:
    names = [name for name, operation in OPERATIONS.items() if operation.devices == devices]
    return pytest.mark.parametrize("operation", names)


@_of(devices=1)
@pytest.mark.shapes(hosts=(1,), dax=("device_dax", "fsdev_dax"))
@pytest.mark.expects_daemon_errors("formatted anew")
def test_a_host_dies(
    scene: Scene, shape: Shape, directory: Path, operation: str, record_property: Note
) -> None:
    """At each commit, with dirty lines evicted or not."""
    judge_all(scene, OPERATIONS[operation], directory, record_property)


@_of(devices=2)
@pytest.mark.shapes(
    hosts=(1,), topologies=("two-bridges",), dax=("device_dax", "fsdev_dax"), only=True
)
def test_a_host_dies_with_two_devices(
    scene: Scene, shape: Shape, directory: Path, operation: str, record_property: Note
) -> None:
    """The same of what is on two devices."""
    judge_all(scene, OPERATIONS[operation], directory, record_property)
