# SPDX-License-Identifier: Apache-2.0
"""Calls of the famlab command, and the labs that it starts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from famlab_vm.console import Console
from support import history, paths, plugin
from support.evidence import NewLogs, observer
from vm.labs import run_directory, share

FAMLAB = paths.REPOSITORY / "vm" / "famlab"


def share_of(verb: str) -> list[str]:
    """What `famlab up` is told, to start guests with the programs under test."""
    programs = share()
    return ["--share", programs] if verb == "up" and programs else []


def famlab(
    *words: str, timeout: float = 120, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    command = history.Command("famlab", words)
    done = subprocess.run(
        [str(FAMLAB), *words, *share_of(words[0])],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    text = (done.stdout + done.stderr).decode(errors="replace")
    command.end(str(done.returncode), text)
    return done


def succeed(*words: str) -> str:
    done = famlab(*words)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode()


class HostOfACommand:
    """A host of such a lab: its console is on this machine, so nobody has to ask the guest."""

    def __init__(self, lab: str, directory: Path) -> None:
        self.name = f"{lab}.{directory.name}"
        self._console = Console(directory / "console.log")
        self._seen = 0

    def new_logs(self) -> NewLogs:
        text = self._console.text(self._seen)
        self._seen = self._console.offset()
        return NewLogs(console=text)


@contextmanager
def labs_by_command(*names: str, hosts: int) -> Iterator[None]:
    """Labs that run side by side, with famfs mounted; what their kernels say counts."""
    words = ["--hosts", str(hosts), *share_of("up")]
    for name in names:
        plugin.adopt(run_directory() / name)
    memories: list[Path] = []
    observed: list[HostOfACommand] = []
    try:
        starts = [
            subprocess.Popen(
                [str(FAMLAB), "up", "--name", name, *words], stdin=subprocess.DEVNULL
            )
            for name in names
        ]
        assert [start.wait(120) for start in starts] == [0] * len(names)
        for name in names:
            directory = run_directory() / name
            memories.append((directory / "memory").resolve())
            plugin.adopt(memories[-1])
            observed += [HostOfACommand(name, host) for host in sorted(directory.glob("host*"))]
        assert len(observed) == hosts * len(names)
        for host in observed:
            observer.add(host)
        yield
    finally:
        observer.remove(observed)
        for name in names:
            famlab("down", "--name", name)
            plugin.disown(run_directory() / name)
        for memory in memories:
            plugin.disown(memory)
