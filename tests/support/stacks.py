# SPDX-License-Identifier: Apache-2.0
"""What hangs when a test runs into a time limit: which these are; where threads are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.verdict import chain

_GDB = ("gdb", "--batch", "--nx", "-ex", "set pagination off", "-ex", "thread apply all backtrace")
# In seconds, for one process.
_GDB_LIMIT = 60

_limits: list[type[BaseException]] = [TimeoutError, subprocess.TimeoutExpired]


def time_limit(*types: type[BaseException]) -> None:
    """Errors of these types say that something took longer than it may."""
    _limits.extend(types)


def ran_into_limit(error: BaseException) -> bool:
    """Whether a phase of a test ended as a time limit was reached, that of the test included."""
    return any(
        isinstance(one, tuple(_limits))
        or (isinstance(one, pytest.fail.Exception) and re.match(r"Timeout >[\d.]+s", str(one)))
        for one in chain(error)
    )


def with_environment(entry: str) -> list[int]:
    """The processes that have `NAME=VALUE` in their environment, as far as it can be read."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            try:
                if entry.encode() in (directory / "environ").read_bytes().split(b"\0"):
                    found.append(int(directory.name))
            except OSError:
                continue  # gone meanwhile, or not ours
    return sorted(found)


def of_process(pid: int) -> str:
    """Where each thread of a process is, in the kernel (only root sees that) and in the program."""
    process = Path(f"/proc/{pid}")
    parts = [f"process {pid}: {_read(process / 'cmdline').replace(chr(0), ' ')}"]
    for task in sorted(process.glob("task/*"), key=lambda path: int(path.name)):
        state = re.search(r"State:\s*(.*)", _read(task / "status"))
        parts.append(f"thread {task.name} ({_read(task / 'comm').strip()}): "
                     f"{state[1] if state else 'gone'}\n{_read(task / 'stack')}")  # fmt: skip
    # A debugger would wait for ever for a thread that waits in the kernel.
    if shutil.which("gdb") and "State:\tD" not in "".join(
        _read(task / "status") for task in process.glob("task/*")
    ):
        parts.append(_ask([*_GDB, "-p", str(pid)]))
    return "\n".join(parts) + "\n"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        return f"({error.strerror})"


def _ask(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_GDB_LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"({error})"
    return done.stdout.decode(errors="replace")
