# SPDX-License-Identifier: Apache-2.0
"""The folder that each test leaves: logs of its hosts, what was run where, and how to run it again.

A host (a guest of the lab, or a simulated host on this machine) takes part by being a `Witness`.
The plug-in asks every witness after each test for what its logs gained meanwhile, writes that into
the test's folder, and lets the test fail for kernel complaints and daemon error lines.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from support import history, repro, timeline, troubles


@dataclass
class Testimony:
    """What one host's logs gained since it was last asked."""

    console: str = ""
    kernel_log: str = ""
    daemon_log: str = ""
    # What its caches have done, if memory is not coherent.
    caches: str = ""
    # What its clocks showed when it was asked, see history.clock_seen(); None if it was not.
    uptime: float | None = None
    wall: float | None = None
    # How it died or fell silent although no test asked for that; empty if it did not.
    death: str = ""


class Witness(Protocol):
    """A host that has logs.

    It may also have `how_to_enter() -> str`, the command that gives a person a shell on it, and
    `stacks() -> str`: where everything on it is just now, as something hangs. That is asked after
    testify(), must not raise, and may harm the host. With `glance() -> Testimony` it says what can
    be known without asking it anything, if nothing was done with it since testify().
    """

    @property
    def name(self) -> str:
        ...

    def testify(self) -> Testimony:
        """What was logged since the last call; must not raise for a host that is down."""
        ...


@dataclass
class Folder:
    """The evidence of one test."""

    path: Path
    node_id: str
    # (host, pattern of the lines of its kernel that the test provokes)
    kernel_trouble_expected: list[tuple[str, str]] = field(default_factory=list)
    daemon_errors_expected: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)

    def open(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        repro.write_test(self.path, self.node_id, self.parameters)
        history.begin(self.path, self.node_id)

    def close(self, failed: bool) -> None:
        """The test is over: what was recorded is made readable."""
        history.end()
        (self.path / "history.log").write_text(history.text(history.load(self.path / history.FILE)))
        if failed:
            timeline.render(self.path)

    def append(self, name: str, text: str) -> None:
        """Adds text to a file of the folder."""
        if text:
            with (self.path / name).open("a") as file:
                file.write(text if text.endswith("\n") else text + "\n")

    def take(self, witness: Witness, glance: bool = False) -> list[str]:
        """Stores what a host has logged since; returns what the test must answer for."""
        asked = time.monotonic()
        said = (getattr(witness, "glance", witness.testify) if glance else witness.testify)()
        history.clock_seen(witness.name, said.uptime, said.wall, asked)
        # A guest that cannot be asked has a console still.
        history.kernel(witness.name, said.kernel_log or said.console)
        history.daemon(witness.name, said.daemon_log)
        self.append(f"{witness.name}.console.log", said.console)
        self.append(f"{witness.name}.dmesg.log", said.kernel_log)
        self.append(f"{witness.name}.famfsd.log", said.daemon_log)
        self.append(f"{witness.name}.caches.log", said.caches)
        complaints = []
        if said.death:
            history.fault(witness.name, "found dead", said.death)
            complaints.append(f"{witness.name}: {said.death}")
        expected = [
            pattern for host, pattern in self.kernel_trouble_expected if host == witness.name
        ]
        # The same line is often in both logs.
        lines = troubles.in_kernel_log(said.kernel_log, expected) or troubles.in_kernel_log(
            said.console, expected
        )
        complaints += [f"{witness.name}: kernel: {line}" for line in lines]
        complaints += [
            f"{witness.name}: famfsd: {line}"
            for line in troubles.in_daemon_log(said.daemon_log, self.daemon_errors_expected)
        ]
        return complaints


class Court:
    """The hosts that are alive now; fixtures call `call` and `dismiss`."""

    def __init__(self) -> None:
        self.witnesses: list[Witness] = []
        self.folder: Folder | None = None
        # Called after a test that failed or harmed a host: drops what later tests would share.
        self.on_harm: list[Callable[[], None]] = []
        self._complaints: list[str] = []
        # The tests that have run in this process, and those that have used each lab.
        self._ran: list[str] = []
        self._users: dict[str, list[str]] = {}

    def open(self, folder: Folder) -> None:
        """A test begins."""
        self.folder = folder
        folder.open()
        repro.write_earlier(folder.path, self._ran)
        self._ran.append(folder.node_id)

    def close(self, failed: bool) -> None:
        """The test is over, its fixtures are torn down."""
        if self.folder is not None:
            folder, self.folder = self.folder, None
            folder.close(failed)

    def take_stacks(self) -> None:
        """Stores where everything hangs on all hosts that can tell."""
        self._hear_each(self.witnesses)  # what stacks leave in logs is no complaint
        with ThreadPoolExecutor(max(1, len(self.witnesses))) as pool:
            list(pool.map(self._take_stacks_of, self.witnesses))

    def _take_stacks_of(self, witness: Witness) -> None:
        stacks = getattr(witness, "stacks", None)
        if stacks is not None and self.folder is not None:
            self.folder.append(f"{witness.name}.stacks.txt", stacks())

    def how_to_enter(self) -> list[str]:
        """For a person: a line for each host that can be entered."""
        lines = []
        for witness in self.witnesses:
            enter = getattr(witness, "how_to_enter", None)
            if enter is not None:
                lines.append(f"{witness.name}: {enter()}")
        return lines

    def shares(self, lab: str) -> None:
        """The running test uses a lab, maybe after others; its name is unique in this process."""
        if self.folder is not None:
            history.note("", f"uses lab {lab}")
            users = self._users.setdefault(lab, [])
            repro.write_earlier(self.folder.path, users)
            users.append(self.folder.node_id)

    def call(self, witness: Witness) -> None:
        """From now on this host is asked after each test."""
        if witness not in self.witnesses:
            self.witnesses.append(witness)

    def dismiss(self, witnesses: Sequence[Witness]) -> None:
        """Asks hosts a last time, as their logs go away now."""
        called = [witness for witness in witnesses if witness in self.witnesses]
        self._hear_each(called)
        for witness in called:
            self.witnesses.remove(witness)

    def hear(self, witness: Witness) -> None:
        """Asks one host now, as a log of it goes away."""
        self._complaints += self._complaints_of(witness)

    def _complaints_of(self, witness: Witness, glance: bool = False) -> list[str]:
        if self.folder is None:
            return []
        try:
            return self.folder.take(witness, glance)
        except Exception as error:  # evidence must never hide what the test itself says
            history.note(witness.name, "cannot be asked", repr(error))
            return [f"{witness.name}: it cannot be asked: {error!r}"]

    def _hear_each(self, witnesses: Sequence[Witness], glance: bool = False) -> None:
        with ThreadPoolExecutor(max(1, len(witnesses))) as pool:
            for complaints in pool.map(partial(self._complaints_of, glance=glance), witnesses):
                self._complaints += complaints

    def hear_all(self, glance: bool = False) -> list[str]:
        """The complaints since the last call, of all hosts, dismissed ones included.

        With `glance`, a host with which nothing was done since is looked at from outside.
        """
        self._hear_each(self.witnesses, glance)
        complaints, self._complaints = self._complaints, []
        return complaints


# One per process: pytest runs one test at a time.
court = Court()
