# SPDX-License-Identifier: Apache-2.0
"""Finding and killing the QEMU processes of guests without asking libvirt.

A guest's QEMU is known by its gdb socket, a path below the guest's own directory that stands on its
command line; one that libvirt only asks what it can do, by its monitor's. So a reused process id is
never hit, and a lab's guests are found even when the files that described them are gone.
"""

from __future__ import annotations

import os
import re
import select
import signal
from contextlib import ExitStack
from pathlib import Path

from famlab_vm.qemu_option import escape

UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_LAB_UUID = re.compile(rf"\bfamlab\.lab=({UUID})\b")
# Options of QEMU whose value is the socket.
_SOCKETS = ("-gdb", "-qmp")


def command_line(pid: int) -> list[str]:
    """Return the arguments of process `pid`; empty if it is gone or a kernel thread."""
    try:
        data = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(word) for word in data.rstrip(b"\0").split(b"\0")] if data else []


def user(pid: int) -> tuple[int, int]:
    """Return the user and group ids of process `pid`. Raises ProcessLookupError."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        raise ProcessLookupError(f"process {pid} is gone") from None
    values = dict(line.split(":", 1) for line in status.splitlines())
    # After the real ones come the effective ones.
    return int(values["Uid"].split()[1]), int(values["Gid"].split()[1])


def _is_guest(pid: int, directory: Path) -> bool:
    words = command_line(pid)
    prefix = f"unix:{escape(directory)}/"
    return any(
        word in _SOCKETS and following.startswith(prefix)
        for word, following in zip(words, words[1:], strict=False)
    )


def find_guests(directory: Path) -> list[int]:
    """Return the ids of the QEMU processes whose guest's files are below `directory`."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if _is_guest(pid, directory)]


def lab_uuids(directory: Path) -> set[str]:
    """Return the UUIDs that the kernels of guests below `directory` were told of their labs."""
    lines = [" ".join(command_line(pid)) for pid in find_guests(directory)]
    return {uuid for line in lines for uuid in _LAB_UUID.findall(line)}


def kill_guests(directory: Path, timeout: float = 10.0) -> list[int]:
    """Kill the guests below `directory` with SIGKILL and wait until they are gone.

    Returns the ids that were killed. Raises TimeoutError if the kernel does not end one within
    `timeout` seconds (a process in uninterruptible sleep).
    """
    killed: dict[int, int] = {}
    with ExitStack() as stack:
        for pid in find_guests(directory):
            descriptor = _kill(pid, directory)
            if descriptor is not None:
                stack.callback(os.close, descriptor)
                killed[pid] = descriptor
        for pid, descriptor in killed.items():
            if not select.select([descriptor], [], [], timeout)[0]:
                raise TimeoutError(f"process {pid} does not end {timeout:.0f} s after SIGKILL")
    return list(killed)


def _kill(pid: int, directory: Path) -> int | None:
    """Kill a guest's process; return a descriptor that is readable once it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        # Asked again with the process pinned: only now the id cannot be another process's.
        if _is_guest(pid, directory):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            return descriptor
    except ProcessLookupError:
        pass
    os.close(descriptor)
    return None
