# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the host suite: two simulated hosts on one sparse file, in layers.

memory (a file of 4 GiB) -> hosts (each with its own identity) -> cluster (famfs made and mounted).
The dimension is the memory backend: `noncoherent` gives each daemon a cache of its own, so a
missing write-back or invalidate shows as stale data; `plain` maps the file itself.
"""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from famfs_verbs import MEBI, Famfs
from support import paths
from support.evidence import court
from support.machine import LocalHost
from support.skips import missing_feature

DEVICE_SIZE = 4096 * MEBI
MEMORIES = {"plain": (), "noncoherent": ("-o", "memory=noncoherent")}


def pytest_configure(config: pytest.Config) -> None:
    for name in ("famfs", "mkfs.famfs", "famfsd"):
        if not (paths.BINARIES / name).exists():
            raise pytest.UsageError(f"{paths.BINARIES / name} is not there: run `make` first")
    if not Path("/dev/fuse").exists():
        raise pytest.UsageError("/dev/fuse is not there: the host suite mounts real file systems")


@pytest.fixture
def directory() -> Iterator[Path]:
    """The folder of one test; gone afterwards."""
    path = paths.run_directory() / uuid.uuid4().hex[:8]
    path.mkdir()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def memory(directory: Path) -> Path:
    """The shared memory: a sparse file of the smallest size that famfs accepts."""
    path = directory / "memory"
    with path.open("wb") as file:
        file.truncate(DEVICE_SIZE)
    return path


@pytest.fixture(params=list(MEMORIES))
def backend(request: pytest.FixtureRequest) -> str:
    """How the daemons reach the memory."""
    return str(request.param)


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
        court.call(machine)
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
            court.dismiss(machine)
            _wait_for_daemons(machine)


def _answers(path: Path) -> bool:
    """False for a mount whose daemon is gone."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def _wait_for_daemons(machine: LocalHost) -> None:
    """Returns when the unmounted daemon has removed its run directory, its last act."""
    for instance in machine.run_directory.iterdir():
        # The daemon holds a lock on its directory for as long as it lives.
        subprocess.run(["flock", str(instance), "true"], timeout=10, check=False)


@pytest.fixture
def hosts(directory: Path, memory: Path, backend: str) -> Iterator[Cluster]:
    """Two hosts and their shared memory; nothing is made or mounted yet."""
    cluster = Cluster(directory, memory, backend)
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(hosts: Cluster) -> Cluster:
    """A fresh file system, mounted on both hosts."""
    hosts.master.mkfs()
    return hosts.mount_all()


@pytest.fixture
def master(cluster: Cluster) -> Famfs:
    return cluster.master


@pytest.fixture
def client(cluster: Cluster) -> Famfs:
    return cluster.client


@pytest.fixture
def reference() -> Path:
    """The image that the reference famfs wrote, as its tar archive."""
    import os

    value = os.environ.get("FAMFS_REFERENCE_IMAGE")
    if not value:
        missing_feature("reference image", "FAMFS_REFERENCE_IMAGE is not set")
    path = Path(value)
    assert path.is_file(), f"FAMFS_REFERENCE_IMAGE={value}: no such file"
    return path
