# SPDX-License-Identifier: Apache-2.0
"""The verbs of famfs: what a test does on a host, in one word each.

They use nothing but the famfs command line and the tools that every host has, so they are the same
for a guest of the lab and for a host simulated on this machine, and for any famfs that has the same
command line.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field, replace

from support import features, programs
from support.evidence import observer
from support.machine import Machine, Outcome

MEBI = 1 << 20
ALLOCATION_UNIT = 2 * MEBI

# Unmounts $1 and returns when its daemon, $2, has ended; umount(8) alone returns before.
UMOUNT = 'umount "$1" && while pgrep -f "^[^ ]*$2 .*$1" >/dev/null; do sleep 0.1; done'

# Exit codes. A command that fails otherwise ends with its errno.
MKFS_USAGE = 1  # it cannot be made like that, wherever
MKFS_REFUSED = 2  # something is there or in use
UMOUNT_FAILED = 32  # of umount(8)
FSCK_CLEAN = 0
FSCK_USAGE = 1
FSCK_DAMAGE = 4


def random_bytes(size: int, seed: int) -> bytes:
    """Content that differs in every place, so that a wrong offset or a stale line shows."""
    return random.Random(seed).randbytes(size)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Entry:
    """What a host shows of one file or directory."""

    kind: str  # d or f
    mode: int
    uid: int
    gid: int
    size: int  # of files; 0 for directories


def on_client(tree: dict[str, Entry]) -> dict[str, Entry]:
    """What clients show of a tree: files without permission to write, until it is given there."""
    return {
        name: replace(entry, mode=entry.mode & ~0o222) if entry.kind == "f" else entry
        for name, entry in tree.items()
    }


@dataclass
class Famfs:
    """One host's view of the file system: its device, its mount point, and the verbs on it."""

    machine: Machine
    device: str
    mount_point: str
    mount_options: tuple[str, ...] = ()
    mkfs_options: tuple[str, ...] = ()
    # The directory of the file system that is the place of all names; empty: the whole of it.
    root: str = ""
    mounted: bool = field(default=False, init=False)
    # It learns of what the master has made by `famfs logplay` alone.
    plays_log: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        return self.machine.name

    def path(self, relative: str = "") -> str:
        return "/".join(part for part in (self.mount_point, self.root, relative) if part)

    def below(self, directory: str) -> Famfs:
        """The same mount, on which a directory is the place of all names."""
        view = replace(self, root=directory)
        view.mounted, view.plays_log = self.mounted, self.plays_log
        return view

    def _require_whole(self) -> None:
        assert not self.root, "others use this mount: the test is to be marked own_mount"

    def run(self, *argv: str, check: bool = True, input: bytes | None = None) -> Outcome:
        features.require(self.machine.ask, argv)
        return self.machine.run(argv, check=check, input=input)

    def famfs(self, *argv: str, check: bool = True) -> Outcome:
        return self.run("famfs", *argv, check=check)

    # the life of the file system

    def mkfs(self, *options: str, check: bool = True) -> Outcome:
        self._require_whole()
        return self.run(
            "mkfs.famfs", "--force", *self.mkfs_options, *options, self.device, check=check
        )

    def mount(self, *options: str, check: bool = True) -> Outcome:
        outcome = self.famfs(
            "mount", *self.mount_options, *options, self.device, self.mount_point, check=check
        )
        self.mounted = outcome.returncode == 0
        return outcome

    def umount(self, check: bool = True) -> None:
        self._umount("", check)

    def umount_if_mounted(self) -> None:
        """Goes by the kernel's own list: a mount whose daemon is gone cannot be asked."""
        self._umount('grep -q " $1 " /proc/mounts || exit 0; ', True)

    def _umount(self, condition: str, check: bool) -> None:
        self._require_whole()
        observer.collect_from(self.machine)  # the daemon takes its log along
        known = features.has(self.machine.ask, "umount")
        script = condition + ('exec famfs umount "$1"' if known else UMOUNT)
        self.run("sh", "-c", script, "sh", self.mount_point, programs.daemon(), check=check)
        self.mounted = False

    def fsck(self, *options: str, check: bool = True) -> Outcome:
        """Checks the mounted file system, or the device of one that is not mounted."""
        target = self.mount_point if self.mounted else self.device
        return self.famfs("fsck", *options, target, check=check)

    def logplay(self, *options: str, check: bool = True) -> Outcome:
        return self.famfs("logplay", *options, self.mount_point, check=check)

    def catch_up(self) -> None:
        """Before files are looked at: has what the master has made."""
        if self.plays_log and self.mounted:
            self.logplay()

    # files

    def mkdir(self, relative: str, *options: str, check: bool = True) -> Outcome:
        return self.famfs("mkdir", *options, self.path(relative), check=check)

    def creat(self, relative: str, size: int, *options: str, check: bool = True) -> Outcome:
        return self.famfs("creat", "--size", str(size), *options, self.path(relative), check=check)

    def put(self, relative: str, content: bytes, *options: str, check: bool = True) -> Outcome:
        """Copies content into a new file with `famfs cp`, from a temporary file of this host."""
        features.require(self.machine.ask, ("famfs", "cp", *options))
        script = (
            'target=$1; shift; source=$(mktemp) && cat > "$source" || exit 99; '
            'famfs cp "$@" "$source" "$target"; code=$?; rm -f "$source"; exit $code'
        )
        return self.run(
            "sh", "-c", script, "sh", self.path(relative), *options, check=check, input=content
        )

    def overwrite(
        self, relative: str, offset: int, content: bytes, *, flush: bool = True, sync: bool = False
    ) -> None:
        """Writes into an existing file, with `sync` then fsync(2), and close(2); and flushes it, as
        the contract of shared memory wants."""
        self.catch_up()
        self.run(
            "dd",
            f"of={self.path(relative)}",
            "bs=1M",
            f"seek={offset}",
            "oflag=seek_bytes",
            "conv=notrunc,fsync" if sync else "conv=notrunc",
            "status=none",
            input=content,
        )
        if flush:
            self.flush(relative)

    def flush(self, *relative: str) -> None:
        """Writes files back and drops what this host has of them in its caches; all files without
        arguments."""
        if relative:
            self.famfs("flush", *(self.path(name) for name in relative))
            return
        self._of_all_files("famfs flush")

    def _of_all_files(self, command: str) -> bytes:
        """What a command says that is given all files of the mount."""
        script = f'find "$1" -path "$1/.meta" -prune -o -type f -print0 | xargs -0r {command}'
        return self.run("sh", "-c", script, "sh", self.path()).stdout

    def read(self, relative: str, offset: int = 0, size: int | None = None) -> bytes:
        self.catch_up()
        command = ["dd", f"if={self.path(relative)}", "bs=1M", "status=none"]
        command += ["iflag=skip_bytes,count_bytes", f"skip={offset}"]
        if size is not None:
            command.append(f"count={size}")
        return self.run(*command).stdout

    def sha256(self, *relative: str) -> dict[str, str]:
        """The digests of files as this host reads them, by path; of all files without arguments."""
        self.catch_up()
        if relative:
            output = self.run("sha256sum", "--", *(self.path(name) for name in relative)).stdout
        else:
            output = self._of_all_files("sha256sum --")
        prefix = f"{self.path()}/"
        digests = {}
        for line in output.decode().splitlines():
            digest, _, path = line.partition("  ")
            digests[path.removeprefix(prefix)] = digest
        return digests

    def tree(self) -> dict[str, Entry]:
        """Everything in the name space with mode, owner and size, without the .meta directory."""
        self.catch_up()
        output = self.run(
            "find", self.path(), "-mindepth", "1", "-path", f"{self.mount_point}/.meta",
            "-prune", "-o", "-mindepth", "1", "-printf", r"%P\t%y\t%m\t%U\t%G\t%s\n",
        ).stdout.decode()  # fmt: skip
        entries = {}
        for line in output.splitlines():
            name, kind, mode, uid, gid, size = line.rsplit("\t", 5)
            if name:
                entries[name] = Entry(
                    kind, int(mode, 8), int(uid), int(gid), int(size) if kind == "f" else 0
                )
        return entries

    def exists(self, relative: str) -> bool:
        self.catch_up()
        return self.run("test", "-e", self.path(relative), check=False).returncode == 0
