# SPDX-License-Identifier: Apache-2.0
"""Judges what a host that died has left in the shared memory: with the programs of this machine, on
copies of the memory, and two hosts. One has it mounted all the while; the other has the identity of
the host that died and comes back.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from famfs_verbs import FSCK_CLEAN, Entry, Famfs, on_client, random_bytes, sha256
from host.cluster import Cluster
from vm.crash_states import LINE, Lines

AFTERWARDS = random_bytes(100_003, 5)


def copy_of(files: dict[int, Path], directory: Path) -> dict[int, Path]:
    """The same bytes elsewhere, taking as little room."""
    directory.mkdir(exist_ok=True)
    copies = {number: directory / f"mem{number}" for number in files}
    for number, path in files.items():
        words = ["cp", "--sparse=always", "--reflink=auto", str(path), str(copies[number])]
        subprocess.run(words, check=True)
    return copies


@dataclass(frozen=True)
class Sight:
    """What a host has: names with what they are, and the digests of files."""

    tree: dict[str, Entry]
    digests: dict[str, str]

    @classmethod
    def of(cls, famfs: Famfs) -> Sight:
        """What it has now."""
        return cls(famfs.tree(), famfs.sha256())

    def names(self) -> dict[str, tuple[str, int]]:
        """Kinds and sizes: modes are another on clients."""
        return {name: (entry.kind, entry.size) for name, entry in self.tree.items()}


class Judge:
    """`before`: the memory as it was before the operation; `identity`: who did it."""

    def __init__(self, directory: Path, before: dict[int, Path], identity: str) -> None:
        self._place = directory / "hosts"
        self._before = before
        self._identity = identity

    def sight_of(self, state: Lines) -> Sight:
        """What another host has that mounts it; who comes back would complete an append."""
        with self._hosts() as cluster:
            self._bring_about(state)
            cluster.client.mount()
            return Sight.of(cluster.client)

    def between(self, state: Lines, old: Sight, new: Sight) -> None:
        """An operation that adds to a file system was interrupted. Raises AssertionError."""
        with self._hosts() as cluster:
            master, client = cluster.master, cluster.client
            client.mount()
            client.tree()  # it has played the log as it was before
            self._bring_about(state)
            seen = self._check(client, old, new)
            master.mount()
            found = self._check(master, old, new)
            assert seen.names().items() <= found.names().items(), "what others have seen is gone"
            self._go_on(master, client)
            assert client.tree() == on_client(master.tree())

    def remade(self, state: Lines, old: Sight) -> None:
        """An operation that makes the file system anew was interrupted. Raises AssertionError."""
        with self._hosts() as cluster:
            master, client = cluster.master, cluster.client
            client.mount()
            before = client.tree()
            self._bring_about(state)
            # It has what there was, or says that this is gone.
            found = client.run("ls", client.mount_point, check=False)
            assert found.returncode != 0 or client.tree() == before
            if master.mount(check=False).returncode != 0:
                master.mkfs()  # there is none, and the next one can be made
                master.mount()
            left = Sight.of(master)
            assert (left.names(), left.digests) in ((old.names(), old.digests), ({}, {}))
            client.umount()
            client.mount()
            self._go_on(master, client)

    def _file(self, number: int) -> Path:
        return self._place / f"mem{number}"

    def _further(self) -> list[Path]:
        """The devices beside the first."""
        return [self._file(number) for number in list(self._before)[1:]]

    @contextmanager
    def _hosts(self) -> Iterator[Cluster]:
        copy_of(self._before, self._place)
        cluster = Cluster(self._place, self._file(0), "plain")
        try:
            (self._place / cluster.master.name / "system_uuid").write_text(f"{self._identity}\n")
            options = [word for path in self._further() for word in ("-o", f"daxdev={path}")]
            for famfs in cluster.hosts:
                famfs.mount_options = (*famfs.mount_options, *options)
            yield cluster
        finally:
            cluster.close()
            shutil.rmtree(self._place)

    def _bring_about(self, state: Lines) -> None:
        for number in self._before:
            with self._file(number).open("r+b") as file:
                for (device, line), content in state.items():
                    if device == number:
                        file.seek(line * LINE)
                        file.write(content)

    @staticmethod
    def _check(famfs: Famfs, old: Sight, new: Sight) -> Sight:
        sight = Sight.of(famfs)
        names = sight.names()
        assert old.names().items() <= names.items() <= new.names().items(), names
        for name, digest in old.digests.items():
            assert sight.digests[name] == digest, f"{name} is not what it was"
        return sight

    def _go_on(self, master: Famfs, client: Famfs) -> None:
        """The file system can be used, and is sound."""
        master.put("afterwards", AFTERWARDS)
        for famfs in (master, client):
            assert famfs.sha256("afterwards") == {"afterwards": sha256(AFTERWARDS)}
        words = [word for path in self._further() for word in ("--daxdev", str(path))]
        assert master.fsck(*words, check=False).returncode == FSCK_CLEAN
