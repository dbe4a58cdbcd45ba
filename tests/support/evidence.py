# SPDX-License-Identifier: Apache-2.0
"""The folder that each test leaves: logs of its hosts, what was run where, and how to run it again.

A host (a guest of the lab, or a simulated host on this machine) takes part by being a `Witness`.
The plug-in asks every witness after each test for what its logs gained meanwhile, writes that into
the test's folder, and lets the test fail for kernel complaints and daemon error lines.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from support import paths, troubles


@dataclass
class Testimony:
    """What one host's logs gained since it was last asked."""

    console: str = ""
    kernel_log: str = ""
    daemon_log: str = ""


class Witness(Protocol):
    """A host that has logs."""

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
    kernel_trouble_expected: bool = False
    daemon_errors_expected: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def open(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        self._write_repro()

    def _write_repro(self) -> None:
        suite = os.environ.get(paths.SUITE) or self.node_id.partition("/")[0]
        lines = [
            "#!/bin/bash",
            "# Runs this one test again.",
            f"cd {shlex.quote(str(paths.REPOSITORY))}",
        ]
        lines += [
            f"export {name}={shlex.quote(os.environ[name])}"
            for name in paths.OVERRIDES
            if os.environ.get(name)
        ]
        lines.append(f'exec tests/run {suite} {shlex.quote(self.node_id)} "$@"')
        repro = self.path / "repro.sh"
        repro.write_text("\n".join(lines) + "\n")
        repro.chmod(0o755)

    def append(self, name: str, text: str) -> None:
        """Adds text to a file of the folder."""
        if text:
            with (self.path / name).open("a") as file:
                file.write(text if text.endswith("\n") else text + "\n")

    def record(self, host: str, argv: Sequence[str], outcome: str, output: str = "") -> None:
        """One line of history: when, on which host, which command, what came of it."""
        elapsed = time.monotonic() - self.started
        self.append("history.log", f"{elapsed:8.3f} {host}: {shlex.join(argv)} -> {outcome}")
        if output:
            indented = "\n".join(f"           | {line}" for line in output.splitlines()[:40])
            self.append("history.log", indented)

    def take(self, witness: Witness) -> list[str]:
        """Stores what a host has logged since; returns what the test must answer for."""
        said = witness.testify()
        self.append(f"{witness.name}.console.log", said.console)
        self.append(f"{witness.name}.dmesg.log", said.kernel_log)
        self.append(f"{witness.name}.famfsd.log", said.daemon_log)
        complaints = []
        if not self.kernel_trouble_expected:
            # The same line is often in both logs; the order of first sight is kept.
            lines = troubles.in_kernel_log(said.kernel_log) or troubles.in_kernel_log(said.console)
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
        self._complaints: list[str] = []

    def call(self, witness: Witness) -> None:
        """From now on this host is asked after each test."""
        if witness not in self.witnesses:
            self.witnesses.append(witness)

    def dismiss(self, witness: Witness) -> None:
        """Asks a host a last time, as its logs go away now."""
        if witness in self.witnesses:
            self.hear(witness)
            self.witnesses.remove(witness)

    def hear(self, witness: Witness) -> None:
        if self.folder is None:
            return
        try:
            self._complaints += self.folder.take(witness)
        except Exception as error:  # evidence must never hide what the test itself says
            self.folder.append("history.log", f"{witness.name}: no testimony: {error!r}")
            print(f"{witness.name}: no testimony: {error!r}", file=sys.stderr)

    def hear_all(self) -> list[str]:
        """The complaints since the last call, of all hosts, dismissed ones included."""
        for witness in self.witnesses:
            self.hear(witness)
        complaints, self._complaints = self._complaints, []
        return complaints

    def record(self, host: str, argv: Sequence[str], outcome: str, output: str = "") -> None:
        if self.folder is not None:
            self.folder.record(host, argv, outcome, output)


# One per process: pytest runs one test at a time.
court = Court()
