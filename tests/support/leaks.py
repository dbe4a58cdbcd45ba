# SPDX-License-Identifier: Apache-2.0
"""What a run has left behind on this machine: processes, mounts, sockets, files.

A run's processes carry its marker in their environment (or that of one of its workers,
MARKER.WORKER), or (programs whose environment was scrubbed, as libvirt does for QEMU) its run
directory in their command line. Everything else of a run lives below its run directory. So nothing
that another user or another run does here counts.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from support.paths import RUN_DIRECTORY, RUN_MARKER


@dataclass(frozen=True, order=True)
class Leak:
    kind: str  # process, mount, socket or file
    what: str

    def __str__(self) -> str:
        return f"{self.kind} {self.what[:300]}"


NOTHING: frozenset[Leak] = frozenset()


@dataclass(frozen=True, order=True)
class Process:
    pid: int
    start_time: int  # clock ticks since boot: tells a reused pid from the process seen before
    command: str


def _unescape_mount(field: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field


def mounts_below(directory: Path) -> list[str]:
    """Mount points at or below a directory, in the order in which they were mounted."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount_point = _unescape_mount(line.split(" ")[4])
        if Path(mount_point).is_relative_to(directory):
            found.append(mount_point)
    return found


def _start_time(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rsplit(")", 1)[1].split()[19])


def _ancestors_and_self() -> set[int]:
    pids = set()
    pid = os.getpid()
    while pid > 1:
        pids.add(pid)
        stat = Path(f"/proc/{pid}/stat").read_text()
        pid = int(stat.rsplit(")", 1)[1].split()[1])
    return pids


def processes_of(marker: str, directory: Path) -> list[Process]:
    """The living processes of a run (and its unreaped children), without the caller's own line."""
    own = _ancestors_and_self()
    marker_entry = f"{RUN_MARKER}={marker}".encode()
    workers_entry = marker_entry + b"."
    needle = os.fsencode(directory) + b"/"
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) in own:
            continue
        pid = int(entry.name)
        try:
            # In this order: exec(2) makes the environment appear after the command line.
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            marked = any(
                word == marker_entry or word.startswith(workers_entry) for word in environment
            )
            if marked or needle in command:
                text = command.replace(b"\0", b" ").decode(errors="replace").strip()
                found.append(Process(pid, _start_time(pid), text))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # gone meanwhile, or not ours
    return sorted(found)


# Where labs put their memory, and the targets there of the links that a run had: they are the
# run's, link or no link.
_MEMORY_PLACES = ("/dev/shm/famlab-", "/var/tmp/famlab-")
_shared_memory: set[str] = set()


def _files_below(directory: Path) -> set[Leak]:
    """All entries below a directory; never looks into a mount, as a dead server would block."""
    mounts = set(mounts_below(directory))
    found: set[Leak] = set()
    pending = [str(directory)]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            if entry.path in mounts:
                continue
            target = os.readlink(entry.path) if entry.is_symlink() else ""
            if target.startswith(_MEMORY_PLACES):
                _shared_memory.add(target)
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
                found.add(Leak("file", entry.path + "/"))
            elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                found.add(Leak("file", entry.path))
            else:
                found.add(Leak("socket", entry.path))
    return found


def _bound_sockets(directory: Path) -> set[Leak]:
    """Sockets that are still listening although their file may be gone already."""
    found = set()
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and fields[7].lstrip("@").startswith(f"{directory}/"):
            found.add(Leak("socket", fields[7]))
    return found


def snapshot(marker: str, directory: Path) -> frozenset[Leak]:
    """Everything that a run has on this machine at this moment."""
    found = {
        Leak("process", f"{process.pid} ({process.command})")
        for process in processes_of(marker, directory)
    }
    found |= {Leak("mount", mount) for mount in mounts_below(directory)}
    found |= _files_below(directory)
    found |= _bound_sockets(directory)
    shared = Path("/dev/shm")
    if shared.is_dir():
        found |= {
            Leak("file", entry.path) for entry in os.scandir(shared) if marker in entry.name
        }
    found |= {Leak("file", target) for target in _shared_memory if Path(target).exists()}
    return frozenset(found)


def current() -> frozenset[Leak]:
    return snapshot(os.environ[RUN_MARKER], Path(os.environ[RUN_DIRECTORY]))


def _wait_for_exit(processes: list[Process], seconds: float) -> None:
    """Returns when all are gone or the time is over; a pidfd becomes readable when one exits."""
    poller = select.poll()
    descriptors = []
    for process in processes:
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            continue
        descriptors.append(descriptor)
        poller.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + seconds
    waiting = len(descriptors)
    while waiting and (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poller.poll(left * 1000):
            poller.unregister(descriptor)
            waiting -= 1
    for descriptor in descriptors:
        os.close(descriptor)


def _signal(processes: list[Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            if _start_time(process.pid) == process.start_time:
                os.kill(process.pid, number)
        except (FileNotFoundError, ProcessLookupError):
            continue


def _unmount(mount_point: str) -> None:
    command = ["umount", "--lazy", mount_point]
    if os.geteuid() != 0:
        command = ["fusermount3", "-uz", mount_point]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def sweep(marker: str, directory: Path) -> frozenset[Leak]:
    """Removes what a run left: unmounts, ends its processes, deletes its files. Returns it."""
    left = snapshot(marker, directory)
    for mount_point in reversed(mounts_below(directory)):
        _unmount(mount_point)
    for number, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        remaining = processes_of(marker, directory)
        _signal(remaining, number)
        _wait_for_exit(remaining, seconds)
    for mount_point in reversed(mounts_below(directory)):
        _unmount(mount_point)
    if not mounts_below(directory):
        shutil.rmtree(directory, ignore_errors=True)
    for leak in left:
        if leak.kind == "file" and leak.what.startswith(("/dev/shm/", *_MEMORY_PLACES)):
            path = Path(leak.what)
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return left
