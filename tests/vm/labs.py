# SPDX-License-Identifier: Apache-2.0
"""Labs for the tests: which labs a test runs on, and a lab that is kept from test to test.

A boot takes seconds, so the tests of one shape come one after the other and share the lab; it is
started anew when a test has failed or left a host dead.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from famlab_vm import Artifacts, Connection, Lab, Topology
from famlab_vm import Machine as Guest
from famlab_vm.errors import AgentError, CommandTimeout, LabStateError
from support import paths, plugin, programs
from support.evidence import Testimony, court
from support.machine import Outcome, conclude
from support.skips import missing_feature

T = TypeVar("T")

# By how much every timeout is longer: KASAN and lockdep make a kernel some four times slower, and
# only who starts a run knows what else the machine has to do.
_DEBUG = os.environ.get("KERNEL_FLAVOR") == "debug"
PATIENCE = int(os.environ.get("PATIENCE") or (5 if _DEBUG else 1))

TOPOLOGIES = ("one-device", "two-bridges", "interleave-2", "switch", "pmem")


@dataclass(frozen=True, order=True)
class Shape:
    """The dimensions of a lab."""

    hosts: int = 2
    topology: str = "one-device"
    dax: str = "device_dax"

    def __str__(self) -> str:
        return f"{self.hosts}-{Path(self.topology).stem}-{self.dax}"


def chosen(variable: str) -> list[str]:
    return [word for word in os.environ.get(variable, "").replace(",", " ").split() if word]


def shapes(
    *,
    hosts: Iterable[int] = (2,),
    topologies: Iterable[str] = ("one-device",),
    dax: Iterable[str] | None = None,
    fewest: int = 1,
    only: bool = False,
) -> list[Shape]:
    """The shapes a test runs on: its own, unless HOSTS, TOPOLOGY or DAX choose others.

    `fewest` is how many hosts the test needs; `only` says that it is about just these topologies.
    A test that names modes of its devices is about them: DAX chooses among these.
    """
    hosts, topologies = list(hosts), list(topologies)
    modes = list(dax or ("device_dax",))
    if asked := chosen("DAX"):
        modes = [mode for mode in asked if dax is None or mode in modes]
    if asked := chosen("HOSTS"):
        hosts = [int(count) for count in asked if int(count) >= fewest]
    if asked := chosen("TOPOLOGY"):
        topologies = [name for name in asked if not only or name in topologies]
    return [Shape(count, name, mode) for name in topologies for mode in modes for count in hosts]


def together(work: Callable[[T], object], items: Sequence[T]) -> None:
    """Does the same on several hosts side by side; raises the first failure."""
    with ThreadPoolExecutor(max(1, len(items))) as pool:
        for job in [pool.submit(work, item) for item in items]:
            job.result()


def kernel_of_flavor(name: str, *as_good: str) -> Path:
    """The chosen kernel if it is of this flavour or one as good, else the one of this flavour."""
    if os.environ.get("KERNEL_FLAVOR") in (name, *as_good):
        return Artifacts.find().kernel
    kernel = paths.BUILD / f"kernel-{name}" / "vmlinux"
    if not kernel.exists():
        missing_feature(name, f"make kernel KERNEL_FLAVOR={name} has not been run")
    return kernel.resolve()


def share() -> str | None:
    """What guests see as /opt/famlab: that of make, or with FAMFS_BIN a copy with those programs.

    They are copied, as links would lead out of what a guest sees.
    """
    if not programs.FOREIGN:
        return None
    directory = paths.run_directory() / "share"
    if not directory.exists():
        plugin.adopt(directory)
        shutil.copytree(paths.BINARIES, directory / "bin")
        shutil.copytree(paths.BUILD / "guest" / "tests", directory / "tests")
    return str(directory)


class LabHost:
    """A guest as the verbs and the evidence see it."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.name = guest.name
        self._console_seen = 0
        self._kernel_lines_seen = 0
        self._logs_seen: dict[str, int] = {}
        self.booted = False  # until then there is a console, but nobody to ask

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 60,
        check: bool = True,
        input: bytes | None = None,
    ) -> Outcome:
        try:
            done = self.guest.run(argv, timeout=timeout * PATIENCE, input=input)
        except (CommandTimeout, AgentError, LabStateError) as error:
            court.record(self.name, list(argv), repr(error))
            raise
        outcome = Outcome(self.name, tuple(argv), done.returncode, done.stdout, done.stderr)
        return conclude(outcome, check)

    def ask(self, argv: Sequence[str]) -> tuple[int, str]:
        done = self.guest.run(argv, timeout=60 * PATIENCE)
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def is_well(self) -> bool:
        """Whether the guest runs and answers."""
        try:
            if self.guest.panicked():
                return False
            return self.guest.run(["true"], timeout=20 * PATIENCE).returncode == 0
        except (AgentError, LabStateError, CommandTimeout):
            return False

    def kill(self) -> None:
        """Power loss."""
        court.hear(self)
        court.record(self.name, ["(kill)"], "")
        self.guest.kill()
        self._forget_logs()

    def _forget_logs(self) -> None:
        self._kernel_lines_seen = 0
        self._logs_seen = {}

    def testify(self) -> Testimony:
        text = self.guest.console_text(self._console_seen)
        self._console_seen = self.guest.console_offset()
        said = Testimony(console=text)
        if not self.booted or not self.guest.is_running() or self.guest.panicked():
            self._forget_logs()
            return said
        # One round trip: the new lines of dmesg, then each log of a daemon after its inode.
        script = (
            "dmesg | tail -n +$1; "
            "for log in /run/famfs/*/famfsd.log*; do "
            '[ -e "$log" ] && echo && stat -c "=== %i" "$log" && cat "$log"; done; true'
        )
        words = ["sh", "-c", script, "sh", str(self._kernel_lines_seen + 1)]
        try:
            output = self.guest.run(words, timeout=30 * PATIENCE).stdout.decode(errors="replace")
        except (AgentError, LabStateError, CommandTimeout) as error:
            said.console += f"\n(the guest does not answer: {error})\n"
            return said
        said.kernel_log, *logs = output.split("\n=== ")
        self._kernel_lines_seen += len(said.kernel_log.splitlines())
        for log in logs:
            inode, _, content = log.partition("\n")
            said.daemon_log += content[self._logs_seen.get(inode, 0) :]
            self._logs_seen[inode] = len(content)
        return said


class TestLab:
    """A running lab and its hosts."""

    __test__ = False

    def __init__(self, shape: Shape, lab: Lab) -> None:
        self.shape = shape
        self.lab = lab
        self.shared_memory = (lab.directory / "memory").resolve()
        self.hosts = [LabHost(guest) for guest in lab.hosts]

    def memory_file(self, device: str = "mem0") -> Path:
        """The file that is the shared memory of a device."""
        return self.shared_memory / device

    def restart(self, host: LabHost) -> None:
        """Boots a host again, whatever its state."""
        if host.guest.is_running():
            court.hear(host)
        court.record(host.name, ["(restart)"], "")
        self.lab.restart(host.name)

    def is_well(self) -> bool:
        return all(host.is_well() for host in self.hosts)


# What a shell and the loader say of a program that cannot be started.
CANNOT_START = (126, 127)


def require_programs(host: LabHost) -> None:
    """Ends the session if the programs that FAMFS_BIN names do not start in a guest."""
    if programs.FOREIGN:
        status, said = host.ask(["famfs", "-h"])
        if status in CANNOT_START:
            pytest.exit(
                f"FAMFS_BIN={paths.BINARIES}: famfs does not start in a guest: {said.strip()}; "
                "guests have the packages of build/image/packages.txt (setup/in-tree compiles "
                "for them), and what else is in the directory",
                returncode=pytest.ExitCode.USAGE_ERROR,
            )


class LabKeeper:
    """Starts labs, keeps the last one for the next test, and removes each without a trace."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._kept: TestLab | None = None
        self._started = 0

    def start(
        self,
        shape: Shape,
        *,
        kernel: Path | None = None,
        kernel_arguments: str = "",
        timeout: float = 240,
    ) -> TestLab:
        """A lab of its own, of the chosen kernel or another; the caller gives it to end()."""
        self._started += 1
        name = f"t{self._started}"
        plugin.adopt(run_directory() / name)
        lab = Lab.create(
            self._connection,
            name,
            Topology.load(shape.topology),
            hosts=shape.hosts,
            dax=shape.dax,
            artifacts=Artifacts.find(kernel=str(kernel) if kernel else None, share=share()),
            kernel_arguments=kernel_arguments,
        )
        started = TestLab(shape, lab)
        plugin.adopt(started.shared_memory)
        for host in started.hosts:
            court.call(host)
        try:
            lab.up(timeout=timeout * PATIENCE, keep=True)  # kept until its consoles are read
        except BaseException:
            self.end(started)
            raise
        for host in started.hosts:
            host.booted = True
        require_programs(started.hosts[0])
        return started

    def end(self, started: TestLab) -> None:
        for host in started.hosts:
            court.dismiss(host)
        started.lab.down()
        plugin.disown(started.lab.directory)
        plugin.disown(started.shared_memory)
        left = started.lab.leftovers()
        assert not left, f"lab {started.lab.name} left behind: {left}"

    def get(self, shape: Shape) -> TestLab:
        """The kept lab if it has this shape, else a fresh one."""
        if self._kept is not None and self._kept.shape != shape:
            self.drop()
        if self._kept is None:
            self._kept = self.start(shape)
        return self._kept

    def drop(self) -> None:
        """The next get() starts a lab anew."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            self.end(kept)


def run_directory() -> Path:
    """FAMLAB_RUN of the tests."""
    return paths.run_directory() / "l"
