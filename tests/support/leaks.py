# SPDX-License-Identifier: Apache-2.0
"""What a run has left behind on this machine: processes, mounts, sockets, files.

A run's processes carry its marker in their environment, or that of one of its workers,
MARKER.WORKER; QEMU, whose environment libvirt scrubs, is known by its sockets in the run directory.
All else of a run lives below its run directory, but for the memory of its labs, to which links
there lead. So nothing that another user or another run does here counts, nor a program that merely
looks at a file of the run. What guests write is read and removed without following a link.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from famlab_vm.memory import SHARED_MEMORY, memory_directory
from famlab_vm.process import find_guests
from famlab_vm.remove import remove_tree
from famlab_vm.terminal import visible

from support.paths import RUN_DIRECTORY, RUN_MARKER


@dataclass(frozen=True, order=True)
class Leak:
    kind: str  # process, mount, socket or file
    what: str

    def __str__(self) -> str:
        return visible(f"{self.kind} {self.what[:300]}")  # a guest may have given the name


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
    guests = set(find_guests(directory))
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
            if marked or pid in guests:
                text = command.replace(b"\0", b" ").decode(errors="replace").strip()
                found.append(Process(pid, _start_time(pid), text))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # gone meanwhile, or not ours
    return sorted(found)


# Deeper than what a run makes; a guest may make more levels than there are descriptors.
_DEEPEST = 40


def _files_below(directory: Path) -> set[Leak]:
    """All entries below a directory; never looks into a mount, as a dead server would block."""
    try:
        return set(_entries(directory, None, str(directory), set(mounts_below(directory)), 0))
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _entries(
    name: str | Path, parent: int | None, path: str, mounts: set[str], depth: int
) -> Iterator[Leak]:
    # Relative to the directory above: what a guest puts in its place meanwhile is not followed.
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=parent)
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                found = f"{path}/{entry.name}"
                if found in mounts:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield Leak("file", f"{found}/")
                    if depth < _DEEPEST:
                        try:
                            yield from _entries(entry.name, descriptor, found, mounts, depth + 1)
                        except (FileNotFoundError, NotADirectoryError, PermissionError):
                            continue  # gone, replaced or closed to us by a guest
                elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                    yield Leak("file", found)
                else:
                    yield Leak("socket", found)
    finally:
        os.close(descriptor)


# What the links of the run's labs led to: it is the run's, link or no link.
_shared_memory: set[Path] = set()


def _labs_memory(directory: Path, files: set[Leak]) -> set[Path]:
    """The memory directories, outside the run's, of the labs that it has or had.

    RUN/l/LAB and RUN/WORKER/l/LAB are labs. Guests write below l/LAB/HOST/exchange only, so no link
    of theirs is ever taken for one of a lab.
    """
    for leak in files:
        match Path(leak.what).relative_to(directory).parts:
            case ("l", _, "memory") | (_, "l", _, "memory"):
                target = memory_directory(Path(leak.what).parent)
                if target is not None:
                    _shared_memory.add(target)
    return {target for target in _shared_memory if target.exists()}


def _bound_sockets(directory: Path) -> set[Leak]:
    """Sockets that are still listening although their file may be gone already."""
    found = set()
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and fields[7].lstrip("@").startswith(f"{directory}/"):
            found.add(Leak("socket", fields[7]))
    return found


def _marked_in_shared_memory(marker: str) -> set[Path]:
    """What a test of the run has put there by its name."""
    try:
        return {SHARED_MEMORY / name for name in os.listdir(SHARED_MEMORY) if marker in name}
    except FileNotFoundError:
        return set()


def snapshot(marker: str, directory: Path) -> frozenset[Leak]:
    """Everything that a run has on this machine at this moment."""
    found = {
        Leak("process", f"{process.pid} ({process.command})")
        for process in processes_of(marker, directory)
    }
    found |= {Leak("mount", mount) for mount in mounts_below(directory)}
    files = _files_below(directory)
    found |= files
    found |= _bound_sockets(directory)
    found |= {Leak("file", str(path)) for path in _marked_in_shared_memory(marker)}
    found |= {Leak("file", str(target)) for target in _labs_memory(directory, files)}
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
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            continue
        try:
            # Asked with the process pinned: only now the id cannot be another process's.
            if _start_time(process.pid) == process.start_time:
                signal.pidfd_send_signal(descriptor, number)
        except (FileNotFoundError, ProcessLookupError):
            pass
        finally:
            os.close(descriptor)


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
    memory = _labs_memory(directory, _files_below(directory))
    if not mounts_below(directory):
        _remove(directory)
    for path in memory | _marked_in_shared_memory(marker):
        _remove(path)
    return left


def _remove(path: Path) -> None:
    """Removes a file, a link or a tree, or says why it stays."""
    try:
        try:
            path.unlink(missing_ok=True)
        except IsADirectoryError:
            remove_tree(path)
    except OSError as error:
        print(f"{path}: {error}", file=sys.stderr)
