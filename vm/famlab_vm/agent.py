# SPDX-License-Identifier: Apache-2.0
"""Running commands and moving files in a guest through the QEMU guest agent, by way of libvirt.

Protocol: QEMU Guest Agent Protocol Reference (guest-exec, guest-exec-status, guest-file-*).
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu

from famlab_vm.errors import AgentError, CommandFailed, CommandTimeout

# libvirt drops the agent when one answer exceeds 10 MiB, and data travels as base64.
CHUNK = 1 << 20

# The agent has no event for "the command has ended", so its status is asked for: at first often,
# because most commands take milliseconds, then ever less often, to leave the guest its one CPU.
_FIRST_WAIT = 0.002
_LONGEST_WAIT = 0.25

# How long the agent may take for one answer, in seconds; it answers in milliseconds unless stuck.
_ANSWER_TIMEOUT = 60


@dataclass(frozen=True)
class CommandResult:
    """How a command in a guest ended. `returncode` is negative for death by a signal."""

    args: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text without the white space at its ends."""
        return self.stdout.decode(errors="replace").strip()


class Agent:
    """The guest agent of one running guest. Calls may come from several threads."""

    def __init__(self, host: str, domain: Any) -> None:
        self._host = host
        self._domain = domain

    def _request(self, command: str, **arguments: object) -> Any:
        message = json.dumps({"execute": command, "arguments": arguments})
        try:
            answer = libvirt_qemu.qemuAgentCommand(self._domain, message, _ANSWER_TIMEOUT, 0)
        except libvirt.libvirtError as error:
            raise AgentError(f"{self._host}: {command}: {error}") from error
        return json.loads(answer)["return"]

    def start(self, args: Sequence[str], stdin: bytes | None = None) -> int:
        """Start a command in a session of its own and return its process id in the guest."""
        request: dict[str, object] = {
            "path": "setsid",
            "arg": list(args),
            "capture-output": True,
        }
        if stdin is not None:
            request["input-data"] = base64.b64encode(stdin).decode()
        pid: int = self._request("guest-exec", **request)["pid"]
        return pid

    def poll(self, pid: int, args: Sequence[str]) -> CommandResult | None:
        """Return how the command `pid` ended, or None if it runs."""
        status = self._request("guest-exec-status", pid=pid)
        if not status["exited"]:
            return None
        code = -int(status["signal"]) if "signal" in status else int(status.get("exitcode", 0))
        return CommandResult(
            tuple(args),
            code,
            base64.b64decode(status.get("out-data", "")),
            base64.b64decode(status.get("err-data", "")),
        )

    def run(
        self, args: Sequence[str], *, timeout: float | None = None, check: bool = False,
        stdin: bytes | None = None,
    ) -> CommandResult:
        """Run a command to its end.

        After `timeout` seconds the command and all it started are killed and CommandTimeout is
        raised. With `check`, a status other than 0 raises CommandFailed. AgentError: it did not
        run, or the guest went away.
        """
        pid = self.start(args, stdin)
        deadline = None if timeout is None else time.monotonic() + timeout
        wait = _FIRST_WAIT
        while (result := self.poll(pid, args)) is None:
            if deadline is not None and time.monotonic() > deadline:
                self.kill(pid)
                raise CommandTimeout(
                    f"{self._host}: {' '.join(args)}: killed after {timeout:g} s"
                )
            time.sleep(wait)
            wait = min(wait * 1.5, _LONGEST_WAIT)
        if check and result.returncode != 0:
            raise CommandFailed(
                f"{self._host}: {' '.join(args)}: {describe_status(result.returncode)}\n"
                + (result.stderr or result.stdout).decode(errors="replace").rstrip(),
                result.returncode, result.stdout, result.stderr,
            )
        return result

    def kill(self, pid: int) -> None:
        """Kill the session of a command that start() began."""
        self._request("guest-exec", path="kill", arg=["-KILL", "--", f"-{pid}"])

    def push(self, local: Path, remote: str) -> None:
        """Copy a file of this machine into the guest, with its permission bits."""
        with local.open("rb") as source:
            mode = os.fstat(source.fileno()).st_mode & 0o7777
            handle = self._request("guest-file-open", path=remote, mode="w")
            try:
                while data := source.read(CHUNK):
                    self._write(handle, data)
            finally:
                self._request("guest-file-close", handle=handle)
        self.run(["chmod", f"{mode:o}", remote], timeout=30, check=True)

    def _write(self, handle: int, data: bytes) -> None:
        while data:
            answer = self._request(
                "guest-file-write", handle=handle, **{"buf-b64": base64.b64encode(data).decode()}
            )
            data = data[answer["count"]:]

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file of the guest to this machine; a partial copy is removed on failure."""
        partial = local.with_name(f".{local.name}.famlab-{os.getpid()}")
        try:
            with partial.open("wb") as sink:
                self.read(remote, sink.write)
            partial.replace(local)
        finally:
            partial.unlink(missing_ok=True)

    def read(self, remote: str, sink: Callable[[bytes], object]) -> None:
        """Give the content of a file of the guest to `sink`, piece by piece."""
        handle = self._request("guest-file-open", path=remote, mode="r")
        try:
            while True:
                answer = self._request("guest-file-read", handle=handle, count=CHUNK)
                if answer["count"]:
                    sink(base64.b64decode(answer["buf-b64"]))
                if answer["eof"]:
                    return
        finally:
            self._request("guest-file-close", handle=handle)


def describe_status(returncode: int) -> str:
    """Return `returncode` (negative: a signal) in words."""
    if returncode < 0:
        return f"killed by signal {-returncode}"
    return f"ended with status {returncode}"
