# SPDX-License-Identifier: Apache-2.0
"""Runs a command on some host: the one interface that the verbs need.

`LocalHost` is a host simulated on this machine: its own system uuid, its own run directory for
daemons, its own mount point, the shared memory a common file. The lab's guests have the same `run`.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from support import history, paths, stacks
from support.evidence import NewLogs, ObservedHost


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    host: str
    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Both outputs, for messages and for looking for words."""
        return (self.stdout + self.stderr).decode(errors="replace")

    def __str__(self) -> str:
        return f"{self.host}: {' '.join(self.argv)} -> {self.returncode}\n{self.text}"


class CommandFailed(AssertionError):
    """A command that should have worked did not; the message carries its output."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


class Machine(ObservedHost, Protocol):
    """A host that runs commands, and whose logs can be asked for."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 60,
        check: bool = True,
        input: bytes | None = None,
    ) -> Outcome:
        ...

    def ask(self, argv: Sequence[str]) -> tuple[int, str]:
        """The status and all the words of a command that has no part in the test."""
        ...


def _display(argv: Sequence[str]) -> str:
    return " ".join(argv)


def conclude(command: history.Command, outcome: Outcome, check: bool) -> Outcome:
    """Notes the end of a command in the history of the test; raises if it failed and must not."""
    command.end(
        str(outcome.returncode),
        outcome.text if len(outcome.stdout) < 4096 else f"({len(outcome.stdout)} bytes)",
    )
    if check and outcome.returncode != 0:
        raise CommandFailed(outcome)
    return outcome


@dataclass(eq=False)
class LocalHost:
    """A host of its own as far as famfs can tell, on this machine."""

    name: str
    directory: Path
    extra_environment: Mapping[str, str] = field(default_factory=dict)
    _log_seen: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.run_directory.mkdir(parents=True, mode=0o700)
        self.mount_point.mkdir()

    @property
    def run_directory(self) -> Path:
        return self.directory / "run"

    @property
    def mount_point(self) -> Path:
        return self.directory / "mnt"

    @property
    def environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        environment["FAMFS_SYSTEM_UUID_FILE"] = str(self.directory / "system_uuid")
        environment["FAMFS_RUN_DIR"] = str(self.run_directory)
        environment["PATH"] = f"{paths.BINARIES}:/usr/sbin:/usr/bin:/sbin:/bin"
        environment["TMPDIR"] = str(self.directory)
        environment["LC_ALL"] = "C.UTF-8"
        environment.update(self.extra_environment)
        return environment

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 60,
        check: bool = True,
        input: bytes | None = None,
    ) -> Outcome:
        command = history.Command(self.name, argv)
        try:
            done = subprocess.run(
                argv,
                input=input,
                stdin=subprocess.DEVNULL if input is None else None,
                capture_output=True,
                timeout=timeout,
                check=False,
                env=self.environment,
                cwd=self.directory,
            )
        except subprocess.TimeoutExpired as error:
            command.end(f"no end after {timeout} s")
            raise AssertionError(
                f"{self.name}: no end after {timeout} s: {_display(argv)}"
            ) from error
        outcome = Outcome(self.name, tuple(argv), done.returncode, done.stdout, done.stderr)
        return conclude(command, outcome, check)

    def ask(self, argv: Sequence[str]) -> tuple[int, str]:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
            env=self.environment,
            cwd=self.directory,
        )
        return done.returncode, done.stdout.decode(errors="replace")

    def start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Starts a command that goes on beside the test; its output is a pipe."""
        history.note(self.name, "starts", shlex.join(argv))
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment,
            cwd=self.directory,
            start_new_session=True,
        )

    def new_logs(self) -> NewLogs:
        text = ""
        for log in sorted(self.run_directory.glob("*/famfsd.log*")):
            content = log.read_bytes()
            inode = log.stat().st_ino  # a daemon that returns renames the log of the one before
            text += content[self._log_seen.get(inode, 0) :].decode(errors="replace")
            self._log_seen[inode] = len(content)
        return NewLogs(daemon_log=text, wall=history.local_time())

    def stacks(self) -> str:
        """Where each process of this host is: its daemons, and the commands that wait for them."""
        processes = stacks.with_environment(f"FAMFS_RUN_DIR={self.run_directory}")
        return "\n".join(map(stacks.of_process, processes))

    def how_to_enter(self) -> str:
        ours = ("FAMFS_SYSTEM_UUID_FILE", "FAMFS_RUN_DIR", "PATH")
        words = [f"{name}={value}" for name, value in self.environment.items() if name in ours]
        return shlex.join(["env", "-C", str(self.directory), *words, "bash"])

    def control(self, path: str) -> bytes:
        """GET on the control socket of this host's one daemon; the body of the answer."""
        [address] = self.run_directory.glob("*/sock")
        command = history.Command(self.name, ["GET", path])
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(address))
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: famfs\r\n\r\n".encode())
            answer = b""
            while block := connection.recv(65536):
                answer += block
        head, _, body = answer.partition(b"\r\n\r\n")
        code = head.split(b" ", 2)[1]
        command.end(code.decode(), body.decode(errors="replace"))
        assert code == b"200", f"{self.name}: GET {path}: {head.decode()}"
        return body

    def daemon_pid(self) -> int:
        return int(self.control("/pid"))


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """Ends a process from LocalHost.start() and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()
