# SPDX-License-Identifier: Apache-2.0
"""famfs on hosts that are simulated on this machine and share a sparse file."""

from __future__ import annotations

from pathlib import Path

from famfs_verbs import MEBI, Famfs
from support.evidence import observer
from support.machine import LocalHost

DEVICE_SIZE = 4096 * MEBI
# How the daemons reach the memory: the file itself, or each through a cache of its own.
MEMORIES = {"plain": (), "noncoherent": ("-o", "memory=noncoherent")}


class Cluster:
    """The hosts of one test: `master` made the file system, `client` mounts it as well."""

    def __init__(self, directory: Path, device: Path, backend: str) -> None:
        self._directory = directory
        self._device = device
        self._options = MEMORIES[backend]
        self.hosts: list[Famfs] = []
        self.machines: list[LocalHost] = []
        self.master = self.add("master")
        self.client = self.add("client")

    def add(self, name: str) -> Famfs:
        """One more host with an identity of its own."""
        machine = LocalHost(name, self._directory / name)
        observer.add(machine)
        host = Famfs(machine, str(self._device), str(machine.mount_point), self._options)
        self.machines.append(machine)
        self.hosts.append(host)
        return host

    def machine(self, host: Famfs) -> LocalHost:
        return self.machines[self.hosts.index(host)]

    def mount_all(self) -> Cluster:
        for host in self.hosts:
            host.mount()
        return self

    def close(self) -> None:
        for host, machine in zip(self.hosts, self.machines):
            mounted = machine.mount_point.is_mount() if _answers(machine.mount_point) else True
            if mounted:
                host.umount()
            observer.remove([machine])


def _answers(path: Path) -> bool:
    """False for a mount whose daemon is gone."""
    try:
        path.stat()
    except OSError:
        return False
    return True
