# SPDX-License-Identifier: Apache-2.0
"""Labs for the tests, kept from test to test.

A boot takes seconds, so the tests of one shape come one after the other and share the lab, which
changes the driver of its devices for those that want the other one; it is started anew when a test
has failed or a host has come to harm.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import pytest
from famlab_vm import Artifacts, Connection, Lab, Topology
from famlab_vm.blame import BlamedLab
from famlab_vm.blame_report import as_html, as_json, as_text
from famlab_vm.coherence import Memory
from famlab_vm.machine import DaxDevice
from support import history, paths, plugin, programs
from support.evidence import observer
from support.skips import missing_feature
from vm import coherence
from vm.host import LabHost, State
from vm.patience import PATIENCE
from vm.shapes import Shape

T = TypeVar("T")


def together(work: Callable[[T], object], items: Sequence[T]) -> None:
    """Does the same on several hosts side by side; raises the first failure."""
    with ThreadPoolExecutor(max(1, len(items))) as pool:
        for job in [pool.submit(work, item) for item in items]:
            job.result()


class StandingMount(Protocol):
    """A file system that stays mounted on a lab from test to test."""

    def umount_all(self) -> None:
        ...


class TestLab:
    """A running lab and its hosts."""

    __test__ = False

    def __init__(self, shape: Shape, lab: Lab) -> None:
        self.shape = shape
        self.lab = lab
        self.shared_memory = (lab.directory / "memory").resolve()
        self.hosts = [LabHost(guest) for guest in lab.hosts]
        self.standing: StandingMount | None = None

    def memory_file(self, device: str = "mem0") -> Path:
        """The file that is the shared memory of a device."""
        return self.shared_memory / device

    def devices(self) -> list[DaxDevice]:
        """The dax devices, which must be the same on all hosts."""
        seen = [host.devices() for host in self.hosts]
        for other in seen[1:]:
            assert [(d.index, d.path, d.size) for d in other] == [
                (d.index, d.path, d.size) for d in seen[0]
            ]
        assert seen[0], "no dax device"
        return seen[0]

    def restart(self, host: LabHost) -> None:
        """Boots a host again, whatever its state."""
        assert self.standing is None, "a test that restarts hosts is to be marked own_mount"
        host.restarts()
        self.lab.restart(host.name)
        host.has_booted()

    def take(self, shape: Shape) -> bool:
        """Becomes a lab of this shape if no host has to boot for it; returns whether it is one."""
        if self.shape.is_a_boot_from(shape):
            return False
        if shape != self.shape:
            self.stand_down()
            self.lab.change_dax_driver(shape.dax)
            self.shape = shape
            for host in self.hosts:
                host.has_changed_driver(shape.dax)
        return True

    def write_blame(self, folder: Path) -> None:
        """Writes down what its hosts did wrong with the shared memory, if that is watched."""
        if not self.lab.state.blames:
            return
        lab = BlamedLab.of(self.lab.state)
        findings, in_vain = lab.findings(), lab.flushes_in_vain()
        (folder / "blame.txt").write_text(as_text(findings, in_vain))
        (folder / "blame.json").write_text(as_json(findings, in_vain))
        (folder / "blame.html").write_text(as_html(findings, in_vain, f"Lab {self.lab.name}"))

    def stand_down(self) -> None:
        """Unmounts what stays mounted from test to test."""
        if self.standing is not None:
            standing, self.standing = self.standing, None
            standing.umount_all()


def kernel_of_flavor(name: str) -> Path:
    """The chosen kernel if it is of this flavour, else the one of this flavour."""
    if os.environ.get("KERNEL_FLAVOR") == name:
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
        clock_offsets: Mapping[str, int] | None = None,
        memory: Memory | None = None,
        timeout: float = 240,
    ) -> TestLab:
        """A lab of its own, of the chosen kernel and memory or others; to be given to end()."""
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
            cpus=shape.cpus,
            clock_offsets=clock_offsets,
            memory=memory or coherence.chosen(),
        )
        started = TestLab(shape, lab)
        observer.on_failure.append(started.write_blame)
        plugin.adopt(started.shared_memory)
        for host in started.hosts:
            observer.add(host)
            history.boot(host.name)
        try:
            lab.up(timeout=timeout * PATIENCE, keep=True)  # kept until its consoles are read
        except BaseException:
            self.end(started)
            raise
        for host in started.hosts:
            host.has_booted()
        require_programs(started.hosts[0])
        return started

    @contextmanager
    def apart(
        self,
        shape: Shape,
        *,
        kernel: Path | None = None,
        kernel_arguments: str = "",
        clock_offsets: Mapping[str, int] | None = None,
        memory: Memory | None = None,
    ) -> Iterator[TestLab]:
        """As start(), instead of the kept one; it ends with the block."""
        self.drop()
        started = self.start(
            shape,
            kernel=kernel,
            kernel_arguments=kernel_arguments,
            clock_offsets=clock_offsets,
            memory=memory,
        )
        try:
            yield started
        finally:
            self.end(started)

    def end(self, started: TestLab) -> None:
        observer.remove(started.hosts)
        observer.on_failure.remove(started.write_blame)
        if coherence.chosen().blame:
            worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
            folder = paths.results_directory() / "blame" / f"{worker}-{started.lab.name}"
            folder.mkdir(parents=True)
            started.write_blame(folder)
        for host in started.hosts:
            host.state = State.GONE
        started.lab.down()
        plugin.disown(started.lab.directory)
        plugin.disown(started.shared_memory)
        left = started.lab.leftovers()
        assert not left, f"lab {started.lab.name} left behind: {left}"

    def get(self, shape: Shape) -> TestLab:
        """The kept lab if it has this shape or can take it, else a fresh one."""
        if self._kept is not None and not self._kept.take(shape):
            self.drop()
        if self._kept is None:
            self._kept = self.start(shape)
        observer.note_lab(self._kept.lab.name)
        return self._kept

    def drop(self) -> None:
        """The next get() starts a lab anew."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            self.end(kept)


def run_directory() -> Path:
    """FAMLAB_RUN of the tests."""
    return paths.run_directory() / "l"
