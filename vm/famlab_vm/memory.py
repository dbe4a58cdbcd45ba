# SPDX-License-Identifier: Apache-2.0
"""The files that are the shared memory of a lab: sparse, zeroed when made, gone after down.

A lab reaches them as LAB/memory/DEVICE, wherever they are.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from famlab_vm import process
from famlab_vm.errors import PrerequisiteMissing
from famlab_vm.remove import remove_tree
from famlab_vm.topology import Topology
from famlab_vm.units import format_size

SHARED_MEMORY = Path("/dev/shm")
# Always on a disk, unlike /tmp and the run directory. For machines whose /dev/shm is small: half of
# the memory is the default.
ON_DISK = Path("/var/tmp")
_PREFIX = "famlab-"
_NAME = re.compile(_PREFIX + process.UUID)


def free_bytes(directory: Path) -> int:
    """Return the bytes that this user can still write to the file system of `directory`."""
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


def memory_files(topology: Topology, lab_directory: Path) -> dict[str, Path]:
    """Return the file of each device by the device's name."""
    return {device.name: lab_directory / "memory" / device.name for device in topology.devices}


def memory_place(needed: int, lab_directory: Path) -> Path | None:
    """Return the first of /dev/shm, the lab's file system and /var/tmp with `needed` bytes free.

    All of them count although the files are sparse: a guest that touches memory with no room behind
    it dies.
    """
    for place in (SHARED_MEMORY, lab_directory, ON_DISK):
        if _has_room(place, needed):
            return place
    return None


def create_memory(topology: Topology, lab_uuid: str, lab_directory: Path) -> None:
    """Make one zeroed sparse file per device at the memory_place().

    Raises PrerequisiteMissing if there is none.
    """
    needed = topology.shared_size
    link = lab_directory / "memory"
    place = memory_place(needed, lab_directory)
    if place is None:
        found = ", ".join(
            f"{path} {_free_text(path)}" for path in (SHARED_MEMORY, lab_directory, ON_DISK)
        )
        raise PrerequisiteMissing(
            f"topology {topology.name} needs {format_size(needed)} for shared memory; found free: "
            f"{found}; free some, choose a smaller topology, or set FAMLAB_RUN to a directory "
            "with room"
        )
    if place == lab_directory:
        link.mkdir(mode=0o700)
    else:
        target = place / f"{_PREFIX}{lab_uuid}"
        # The link comes first: from now on remove_memory finds the directory, even after a crash.
        link.symlink_to(target)
        target.mkdir(mode=0o700)
    for device in topology.devices:
        sparse_file(link / device.name, device.size)


def _has_room(directory: Path, needed: int) -> bool:
    return os.access(directory, os.W_OK | os.X_OK) and free_bytes(directory) >= needed


def _free_text(directory: Path) -> str:
    if not os.access(directory, os.W_OK | os.X_OK):
        return "(not writable)"
    return f"{free_bytes(directory) >> 20}M"


def sparse_file(path: Path, size: int) -> None:
    """Make a file of `size` zeroes that take no room yet. Raises FileExistsError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)


def outside_directories(lab_uuid: str) -> list[Path]:
    """Return where a lab's memory files may be outside its own directory."""
    return [place / f"{_PREFIX}{lab_uuid}" for place in (SHARED_MEMORY, ON_DISK)]


def memory_directory(lab_directory: Path) -> Path | None:
    """Return the directory outside `lab_directory` that holds the memory files, if there is one."""
    link = lab_directory / "memory"
    if not link.is_symlink():
        return None
    target = link.readlink()
    # Nothing but what create_memory makes is ever removed.
    if target.parent not in (SHARED_MEMORY, ON_DISK) or not _NAME.fullmatch(target.name):
        return None
    return target


def remove_memory(lab_directory: Path) -> None:
    """Remove what create_memory made; without effect where it is gone already."""
    target = memory_directory(lab_directory)
    if target is not None:
        with suppress(FileNotFoundError, NotADirectoryError):
            remove_tree(target)
    link = lab_directory / "memory"
    if link.is_symlink():
        link.unlink()
    elif link.is_dir():
        remove_tree(link)


def remove_strays(lab_directory: Path) -> list[int]:
    """Remove the guests and the memory of a lab whose directory is gone; return the guests' ids.

    logind, for example, removes a user's directories at the last logout, and guests run on.
    """
    uuids = process.lab_uuids(lab_directory)
    killed = process.kill_guests(lab_directory)
    for lab_uuid in uuids:
        for directory in outside_directories(lab_uuid):
            with suppress(FileNotFoundError, NotADirectoryError):
                remove_tree(directory)
    return killed
