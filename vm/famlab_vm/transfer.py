# SPDX-License-Identifier: Apache-2.0
"""Copying files and directories into a directory that a guest writes to, and out of it.

Whatever the guest does meanwhile, nothing of this machine is read but what is to be copied in, and
nothing is written but what is to be copied out.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from famlab_vm.errors import LabStateError
from famlab_vm.units import format_size
from famlab_vm.untrusted import kind, open_directory, open_file

# How much a guest may hand out at once: bytes, files and directories, and levels of them. A guest
# that has more, or says so, would fill this machine.
LARGEST = 4 << 30
MOST_ENTRIES = 100_000
DEEPEST = 100

_BLOCK = 1 << 20
_PERMISSIONS = 0o777  # without the set-user-id, set-group-id and sticky bits


@dataclass(frozen=True)
class Owner:
    """Whom the files in a guest's directory belong to: the user that QEMU runs as."""

    user: int
    group: int

    @classmethod
    def of(cls, descriptor: int) -> Owner:
        """Return the owner of an open file or directory."""
        status = os.fstat(descriptor)
        return cls(status.st_uid, status.st_gid)

    def take(self, descriptor: int) -> None:
        """Make an open file or directory belong to this owner."""
        if Owner.of(descriptor) != self:
            os.fchown(descriptor, self.user, self.group)


def copy_in(source: Path, name: str, directory: int, owner: Owner) -> None:
    """Copy a file or tree of this machine to the new name `name` in a directory of a guest.

    A link is copied as what it leads to if it is `source` itself, and below it as a link. Raises
    OSError, FileExistsError among them; LabStateError for a FIFO, socket or device.
    """
    if source.is_dir():
        _copy_tree_in(source, name, directory, owner)
    else:
        _copy_file_in(source, name, directory, owner)


def _copy_tree_in(source: Path, name: str, directory: int, owner: Owner) -> None:
    target = make_directory(name, directory, owner)
    try:
        with os.scandir(source) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.is_symlink():
                    os.symlink(os.readlink(path), entry.name, dir_fd=target)
                elif entry.is_dir():
                    _copy_tree_in(path, entry.name, target, owner)
                else:
                    _copy_file_in(path, entry.name, target, owner)
        os.fchmod(target, source.stat().st_mode & _PERMISSIONS)
    finally:
        os.close(target)


def _copy_file_in(source: Path, name: str, directory: int, owner: Owner) -> None:
    # A FIFO would be waited for.
    with open(os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        mode = os.fstat(stream.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise LabStateError(f"{source}: found {kind(mode)}; allowed: files and directories")
        target = make_file(name, directory, owner)
        try:
            with open(target, "wb", closefd=False) as copy:
                shutil.copyfileobj(stream, copy, _BLOCK)
            os.fchmod(target, mode & _PERMISSIONS)
        finally:
            os.close(target)


def make_file(name: str, directory: int, owner: Owner) -> int:
    """Make the new file `name` in a directory of a guest; return a descriptor to write and read."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=directory)
    owner.take(descriptor)
    return descriptor


def make_directory(name: str, directory: int, owner: Owner) -> int:
    """Make the new directory `name` in a directory of a guest; return a descriptor of it."""
    os.mkdir(name, 0o700, dir_fd=directory)
    descriptor = open_directory(name, directory, Path(name))
    owner.take(descriptor)
    return descriptor


def copy_out(name: str, directory: int, shown: Path, target: Path, largest: int) -> None:
    """Copy the file or tree `name` of a guest's directory to `target`, with permission bits.

    Set-user-id, set-group-id and sticky bits are dropped. Looks at everything before anything is
    made here. Raises LabStateError, with a path from `shown` on, for what is neither a file nor a
    directory, and for more than `largest` bytes, MOST_ENTRIES or DEEPEST levels; OSError.
    """
    _look(name, directory, shown, _Allowance(shown, largest), 0)
    # Once more, should the guest have changed something.
    _copy(name, directory, shown, target, _Allowance(shown, largest))


class _Allowance:
    """What a guest may still hand out."""

    def __init__(self, top: Path, largest: int) -> None:
        self._top = top
        self._largest = self._bytes = largest
        self._entries = MOST_ENTRIES

    def use(self, shown: Path, status: os.stat_result) -> bool:
        """Count a file or directory and return whether it is a directory."""
        is_directory = stat.S_ISDIR(status.st_mode)
        if not is_directory and not stat.S_ISREG(status.st_mode):
            raise LabStateError(
                f"{shown}: found {kind(status.st_mode)}; allowed: files and directories"
            )
        self._entries -= 1
        if self._entries < 0:
            raise LabStateError(
                f"{self._top}: found more than {MOST_ENTRIES} files and directories; allowed: "
                "fewer at once, or an archive of them"
            )
        if not is_directory:
            self._bytes -= status.st_size
        if self._bytes < 0:
            raise LabStateError(
                f"{self._top}: found more than {format_size(self._largest)}; allowed: less at once"
            )
        return is_directory


def _look(name: str, directory: int, shown: Path, allowance: _Allowance, depth: int) -> None:
    """Raise LabStateError if this may not be copied out."""
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not allowance.use(shown, status):
        return
    if depth == DEEPEST:
        raise LabStateError(f"{shown}: found more than {DEEPEST} levels; allowed: an archive")
    descriptor = open_directory(name, directory, shown)
    try:
        # Not as a list: it could be longer than this machine has memory.
        with os.scandir(descriptor) as entries:
            for entry in entries:
                _look(entry.name, descriptor, shown / entry.name, allowance, depth + 1)
    finally:
        os.close(descriptor)


def _copy(name: str, directory: int, shown: Path, target: Path, allowance: _Allowance) -> None:
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not allowance.use(shown, status):
        _copy_file_out(name, directory, shown, target, status.st_size)
        return
    descriptor = open_directory(name, directory, shown)
    try:
        target.mkdir(exist_ok=True)
        with os.scandir(descriptor) as entries:
            for entry in entries:
                _copy(entry.name, descriptor, shown / entry.name, target / entry.name, allowance)
        target.chmod(status.st_mode & _PERMISSIONS)
    finally:
        os.close(descriptor)


def _copy_file_out(name: str, directory: int, shown: Path, target: Path, size: int) -> None:
    """Copy a file of at most `size` bytes."""
    source = open_file(name, directory, shown)
    try:
        with target.open("wb") as stream:
            while block := os.read(source, min(_BLOCK, size)):
                stream.write(block)
                size -= len(block)
            if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                os.fchmod(stream.fileno(), os.fstat(source).st_mode & _PERMISSIONS)
    finally:
        os.close(source)
