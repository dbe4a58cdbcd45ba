# SPDX-License-Identifier: Apache-2.0
"""The folder that each test leaves: logs of its hosts, what was run where, and how to run it again.

A host (a guest of the lab, or a simulated host on this machine) takes part by being an
`ObservedHost`. The plug-in asks each after a test for what its logs gained, writes that into
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
class NewLogs:
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


class ObservedHost(Protocol):
    """A host that has logs.

    It may also have `how_to_enter() -> str`, the command that gives a person a shell on it, and
    `stacks() -> str`: where everything on it is just now, as something hangs. That is asked after
    new_logs(), must not raise, and may harm the host. With `new_logs_if_used() -> NewLogs` it says
    what can be known without asking it, if nothing was done with it since new_logs(). With
    `take_cores(folder, since)` it copies there what programs have dumped in the last `since`
    seconds, and may raise.
    """

    @property
    def name(self) -> str:
        ...

    def new_logs(self) -> NewLogs:
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

    def take(self, host: ObservedHost, if_used: bool = False) -> list[str]:
        """Stores what a host has logged since; returns what the test must answer for."""
        asked = time.monotonic()
        logs = (getattr(host, "new_logs_if_used", host.new_logs) if if_used else host.new_logs)()
        history.clock_seen(host.name, logs.uptime, logs.wall, asked)
        # A guest that cannot be asked has a console still.
        history.kernel(host.name, logs.kernel_log or logs.console)
        history.daemon(host.name, logs.daemon_log)
        self.append(f"{host.name}.console.log", logs.console)
        self.append(f"{host.name}.dmesg.log", logs.kernel_log)
        self.append(f"{host.name}.famfsd.log", logs.daemon_log)
        self.append(f"{host.name}.caches.log", logs.caches)
        complaints = []
        if logs.death:
            history.fault(host.name, "found dead", logs.death)
            complaints.append(f"{host.name}: {logs.death}")
        expected = [
            pattern for name, pattern in self.kernel_trouble_expected if name == host.name
        ]
        # The same line is often in both logs.
        lines = troubles.in_kernel_log(logs.kernel_log, expected) or troubles.in_kernel_log(
            logs.console, expected
        )
        complaints += [f"{host.name}: kernel: {line}" for line in lines]
        complaints += [
            f"{host.name}: famfsd: {line}"
            for line in troubles.in_daemon_log(logs.daemon_log, self.daemon_errors_expected)
        ]
        return complaints


class Observer:
    """Collects evidence from the hosts that are alive, which fixtures add and remove."""

    def __init__(self) -> None:
        self.hosts: list[ObservedHost] = []
        self.folder: Folder | None = None
        # Called after a test that failed or harmed a host: drops what later tests would share.
        self.on_harm: list[Callable[[], None]] = []
        # Called for a test that failed, before it is torn down, with its folder: adds evidence.
        self.on_failure: list[Callable[[Path], None]] = []
        self._complaints: list[str] = []
        self._opened = 0.0
        # The tests that have run in this process, and those that have used each lab.
        self._ran: list[str] = []
        self._users: dict[str, list[str]] = {}

    def open(self, folder: Folder) -> None:
        """A test begins."""
        self.folder = folder
        self._opened = time.monotonic()
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
        self._collect_from_each(self.hosts)  # what stacks leave in logs is no complaint
        with ThreadPoolExecutor(max(1, len(self.hosts))) as pool:
            list(pool.map(self._take_stacks_of, self.hosts))

    def _take_stacks_of(self, host: ObservedHost) -> None:
        stacks = getattr(host, "stacks", None)
        if stacks is not None and self.folder is not None:
            self.folder.append(f"{host.name}.stacks.txt", stacks())

    def has_failed(self) -> None:
        """Stores what is asked for only of a test that failed."""
        if self.folder is None:
            return
        for host in self.hosts:
            take = getattr(host, "take_cores", None)
            if take is not None:
                try:
                    take(self.folder.path, time.monotonic() - self._opened)
                except Exception as error:  # evidence must never hide what the test itself says
                    history.note(host.name, "its cores cannot be had", repr(error))
        for add in self.on_failure:
            try:
                add(self.folder.path)
            except Exception as error:
                history.note("tests", "no further evidence", repr(error))

    def how_to_enter(self) -> list[str]:
        """For a person: a line for each host that can be entered."""
        lines = []
        for host in self.hosts:
            enter = getattr(host, "how_to_enter", None)
            if enter is not None:
                lines.append(f"{host.name}: {enter()}")
        return lines

    def note_lab(self, lab: str) -> None:
        """The running test uses a lab, maybe after others; its name is unique in this process."""
        if self.folder is not None:
            history.note("", f"uses lab {lab}")
            users = self._users.setdefault(lab, [])
            repro.write_earlier(self.folder.path, users)
            users.append(self.folder.node_id)

    def add(self, host: ObservedHost) -> None:
        """From now on this host is asked after each test."""
        if host not in self.hosts:
            self.hosts.append(host)

    def remove(self, hosts: Sequence[ObservedHost]) -> None:
        """Asks hosts a last time, as their logs go away now."""
        known = [host for host in hosts if host in self.hosts]
        self._collect_from_each(known)
        for host in known:
            self.hosts.remove(host)

    def collect_from(self, host: ObservedHost) -> None:
        """Asks one host now, as a log of it goes away."""
        self._complaints += self._complaints_of(host)

    def _complaints_of(self, host: ObservedHost, if_used: bool = False) -> list[str]:
        if self.folder is None:
            return []
        try:
            return self.folder.take(host, if_used)
        except Exception as error:  # evidence must never hide what the test itself says
            history.note(host.name, "cannot be asked", repr(error))
            return [f"{host.name}: it cannot be asked: {error!r}"]

    def _collect_from_each(self, hosts: Sequence[ObservedHost], if_used: bool = False) -> None:
        with ThreadPoolExecutor(max(1, len(hosts))) as pool:
            for complaints in pool.map(partial(self._complaints_of, if_used=if_used), hosts):
                self._complaints += complaints

    def collect(self, if_used: bool = False) -> list[str]:
        """The complaints since the last call, of all hosts, removed ones included.

        With `if_used`, a host with which nothing was done since is looked at from outside.
        """
        self._collect_from_each(self.hosts, if_used)
        complaints, self._complaints = self._complaints, []
        return complaints


# One per process: pytest runs one test at a time.
observer = Observer()
