# SPDX-License-Identifier: Apache-2.0
"""Rounds of sudden death: a master that makes and copies files, clients that read them, and hosts
or daemons that are killed meanwhile and come back.

Everything that is chosen comes from one seed. What happens when is up to the machine.
"""

from __future__ import annotations

import random
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from famfs_verbs import MEBI, Famfs, random_bytes, sha256
from support import history, programs
from support.evidence import observer
from vm.cluster import Cluster
from vm.host import State
from vm.labs import together
from vm.running import Running

SOURCES = "/run/sources"
STOP = "/run/stop"
# What files are copied from: sizes around lines, pages and units of allocation.
SIZES = (1, 63, 4096, 100_001, 2 * MEBI - 1, 2 * MEBI + 5)
INTERLEAVED = "--nstrips 3 --nbuckets 4 --chunksize 2M"
# A file system is full after some thirty rounds.
ROUNDS_OF_ONE_FILE_SYSTEM = 10
MORE_STEPS_THAN_ARE_DONE = 200

# Each line of standard input is a step: a number and a command.
WORK = (
    'exec 2>&1; rm -f "$1"; while ! [ -e "$1" ] && read -r number step; do echo "begin $number"; '
    'eval "$step" </dev/null || { echo "failed $number"; exit 1; }; echo "done $number"; done'
)
READ = (
    'exec 2>&1; rm -f "$1"; until [ -e "$1" ]; do '
    'find "$2" -type f -exec cat {} + >/dev/null || exit 1; echo "read"; done'
)


@dataclass
class Step:
    """A command of the master, and the files that are there once it has ended."""

    command: str
    sizes: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)  # of those whose bytes it promises
    seeds: dict[str, int] = field(default_factory=dict)  # the same, as `famfs verify` asks
    directory: str = ""


def source_content(number: int) -> bytes:
    return random_bytes(SIZES[number], number)


def differing(part: Mapping[str, object], whole: Mapping[str, object]) -> dict[str, object]:
    """What the whole does not have as the part has it, both values of each."""
    return {name: (v, whole.get(name)) for name, v in part.items() if whole.get(name) != v}


class Steps:
    """Commands by chance."""

    def __init__(self, chance: random.Random, mount_point: str) -> None:
        self._chance, self._mount_point = chance, mount_point

    def of_round(self, number: int, count: int) -> list[Step]:
        kinds = (self._create, self._create_many, self._copy, self._copy, self._copy_tree,
                 self._make_directories)  # fmt: skip
        return [
            self._chance.choice(kinds)(f"r{number}/{index:02}") for index in range(count)
        ]

    def _path(self, name: str) -> str:
        return shlex.quote(f"{self._mount_point}/{name}")

    def _create(self, name: str) -> Step:
        size, seed = self._chance.randint(1, 150_000), self._chance.randint(1, 1 << 31)
        command = f"famfs creat --randomize --seed {seed} --size {size} {self._path(name)}"
        return Step(command, {name: size}, seeds={name: seed})

    def _create_many(self, name: str) -> Step:
        files = {
            f"{name}-{i}": (self._chance.randint(1, 50_000), self._chance.randint(1, 1 << 31))
            for i in range(self._chance.randint(2, 6))
        }
        words = [f"--multi {self._path(n)},{size},{seed}" for n, (size, seed) in files.items()]
        return Step(
            "famfs creat " + " ".join(words),
            {n: size for n, (size, _) in files.items()},
            seeds={n: seed for n, (_, seed) in files.items()},
        )

    def _copy(self, name: str) -> Step:
        number = self._chance.randrange(len(SIZES))
        layout = self._chance.choice(("", INTERLEAVED))
        command = f"famfs cp {layout} {SOURCES}/{number} {self._path(name)}"
        return Step(command, {name: SIZES[number]}, {name: sha256(source_content(number))})

    def _copy_tree(self, name: str) -> Step:
        files = {f"{name}/sources/{i}": i for i in range(len(SIZES))}
        path = self._path(name)
        return Step(
            f"famfs mkdir -p {path} && famfs cp -r {SOURCES} {path}",
            {n: SIZES[i] for n, i in files.items()},
            {n: sha256(source_content(i)) for n, i in files.items()},
        )

    def _make_directories(self, name: str) -> Step:
        return Step(f"famfs mkdir -p {self._path(name)}/a/b/c", directory=f"{name}/a/b/c")


class Rounds:
    """The rounds on one cluster."""

    def __init__(self, cluster: Cluster, seed: int, directory: Path) -> None:
        self.cluster = cluster
        self._chance = random.Random(seed)
        self._directory = directory
        self._steps = Steps(self._chance, cluster.master.mount_point)
        self._known: dict[str, str] = {}  # digests of all files that are there
        self._cut_off: Step | None = None  # a copy that was interrupted
        for number in range(len(SIZES)):
            (directory / str(number)).write_bytes(source_content(number))

    def run(self, count: int) -> None:
        self.cluster.require_following()
        self._give_sources()
        for number in range(count):
            if number % ROUNDS_OF_ONE_FILE_SYSTEM == 0 and number > 0:
                self._start_anew()
            self._round(number)

    def _start_anew(self) -> None:
        for famfs in self.cluster.all:
            famfs.umount()
        self.cluster.make_and_mount()
        self._known.clear()
        self._cut_off = None

    def _give_sources(self) -> None:
        """Sources are in the master's own memory, which it loses."""
        master = self.cluster.host(self.cluster.master)
        master.run(["mkdir", "-p", SOURCES])
        for path in self._directory.iterdir():
            master.push(path, f"{SOURCES}/{path.name}")

    def _round(self, number: int) -> None:
        hosts = self.cluster.all
        master = self.cluster.master
        victims = self._chance.sample(hosts, self._chance.choice((1, 1, 1, 2, len(hosts))))
        ways = {famfs.name: self._chance.choice(("host", "daemon")) for famfs in victims}
        history.note("", f"round {number}", " ".join(f"{name}:{way}" for name, way in ways.items()))
        master.mkdir(f"r{number}")
        steps = self._steps.of_round(number, MORE_STEPS_THAN_ARE_DONE)
        if self._cut_off is not None:
            steps.insert(0, self._cut_off)
        running = self._start(number, steps)
        running[master.name].wait_for("done", self._chance.randint(1, 6))
        time.sleep(self._chance.random() * 0.3)  # somewhere within a step
        together(lambda famfs: self._kill(famfs, ways[famfs.name]), victims)
        self._stop(running, victims)
        self._chance.shuffle(victims)
        for famfs in victims:
            self._bring_back(famfs, ways[famfs.name])
        if master in victims and ways[master.name] == "host":
            self._give_sources()
        self._check(steps, running[master.name])

    def _start(self, number: int, steps: list[Step]) -> dict[str, Running]:
        text = "".join(f"{index} {step.command}\n" for index, step in enumerate(steps)).encode()
        running = {}
        for famfs in self.cluster.all:
            host = self.cluster.host(famfs)
            if famfs is self.cluster.master:
                words = ["sh", "-c", WORK, "sh", STOP]
                running[famfs.name] = Running(host, words, text)
            else:
                words = ["sh", "-c", READ, "sh", STOP, famfs.path(f"r{number}")]
                running[famfs.name] = Running(host, words)
        return running

    def _kill(self, famfs: Famfs, way: str) -> None:
        if way == "host":
            self.cluster.host(famfs).kill()
        else:
            observer.collect_from(famfs.machine)
            famfs.run("pkill", "--signal", "KILL", "--exact", programs.daemon())

    def _stop(self, running: dict[str, Running], victims: list[Famfs]) -> None:
        """Who is not a victim went on, and ends only now that it is asked to."""
        for famfs in self.cluster.all:
            if famfs not in victims:
                word = "done" if famfs is self.cluster.master else "read"
                lines = [line for line in running[famfs.name].lines if line.startswith(word)]
                running[famfs.name].wait_for(word, len(lines) + 1)
        for famfs in self.cluster.all:
            if self.cluster.host(famfs).state is State.RUNNING:
                famfs.run("touch", STOP)
            status = running[famfs.name].end()
            if famfs not in victims:
                assert status == 0, f"it is no victim: {running[famfs.name]}"

    def _bring_back(self, famfs: Famfs, way: str) -> None:
        if way == "host":
            self.cluster.restart(famfs)
        else:
            famfs.umount()
            famfs.mount()

    def _check(self, steps: list[Step], work: Running) -> None:
        """Every host is clean and has the same files; what was called done is whole, what was not
        is not there or has its size, what was there before is as it was."""
        begun = [steps[int(line.split()[1])] for line in work.lines if line.startswith("begin ")]
        ended = sum(line.startswith("done ") for line in work.lines)
        hosts = self.cluster.all
        together(Famfs.fsck, hosts)
        # Who read a file while it was copied has of it what was there then.
        together(Famfs.flush, self.cluster.clients)
        trees = [famfs.tree() for famfs in hosts]
        digests = [famfs.sha256() for famfs in hosts]
        for famfs, tree, digest in zip(hosts, trees, digests):
            kinds = {name: (entry.kind, entry.size) for name, entry in tree.items()}
            of_master = {name: (entry.kind, entry.size) for name, entry in trees[0].items()}
            assert kinds == of_master, f"{famfs.name} and the master: {differing(kinds, of_master)}"
            assert digest == digests[0], (
                f"{famfs.name} and the master: {differing(digest, digests[0])}"
            )
        sizes = {name: entry.size for name, entry in trees[0].items() if entry.kind == "f"}
        expected = dict(self._known)
        for step in begun:
            for name in step.sizes:
                expected.pop(name, None)  # written again by a copy that was repeated
        for step in begun[:ended]:
            if step.directory:
                assert trees[0][step.directory].kind == "d"
            assert not (wrong := differing(step.sizes, sizes)), f"made, but {wrong}"
            expected |= step.digests
        assert not (wrong := differing(expected, digests[0])), f"not whole: {wrong}"
        # The word that the last step began may have been lost with its host.
        wanted = {n: size for step in steps[: len(begun) + 1] for n, size in step.sizes.items()}
        there = {name: sizes[name] for name in wanted if name in sizes}
        assert not (wrong := differing(there, wanted)), f"of another size: {wrong}"
        strange = set(sizes) - set(self._known) - set(wanted)
        assert not strange, f"nobody made {strange}"
        self._verify({n: seed for step in begun[:ended] for n, seed in step.seeds.items()})
        self._known = digests[0]
        cut_off = begun[ended] if ended < len(begun) else None
        self._cut_off = cut_off if cut_off is not None and cut_off.digests else None

    def _verify(self, seeds: dict[str, int]) -> None:
        """The bytes are those of the seeds; all hosts read the same ones."""
        client = self.cluster.clients[0]
        words: list[str] = []
        for name, seed in seeds.items():
            words += ["--multi", f"{client.path(name)},{seed}"]
        if words:
            client.famfs("verify", *words)
