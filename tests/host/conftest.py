# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the host suite: two simulated hosts on one sparse file, in layers.

memory (a file of 4 GiB) -> hosts (each with its own identity) -> cluster (famfs made and mounted).
The dimension is the memory backend: `noncoherent` gives each daemon a cache of its own, so a
missing write-back or invalidate shows as stale data; `plain` maps the file itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from famfs_verbs import Famfs
from host.cluster import DEVICE_SIZE, MEMORIES, Cluster
from support import pairwise, programs, selection, verdict
from support.skips import missing_feature


def pytest_configure(config: pytest.Config) -> None:
    if problem := programs.problem():
        verdict.refuse(problem)
    if not Path("/dev/fuse").exists():
        verdict.refuse("/dev/fuse is not there: the host suite mounts real file systems")


def _place(item: pytest.Item) -> dict[str, str]:
    backend = selection.parameters(item).get("backend")
    place = {"contract": str(item.path), "test": item.nodeid.partition("[")[0]}
    return place | ({"backend": str(backend)} if backend else {})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out, unless FULL=1, all but a choice: each test with one value of its parameters, and
    each file of tests with both backends.
    """
    if selection.of_all(config):
        return
    common, own = ("contract", "backend"), ("test",)
    meetings = [pairwise.meetings(_place(item), common, own) for item in items]
    selection.keep(config, items, [items[index] for index in pairwise.choose(meetings)])


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
    value = os.environ.get("FAMFS_REFERENCE_IMAGE")
    if not value:
        missing_feature("reference image", "FAMFS_REFERENCE_IMAGE is not set")
    path = Path(value)
    assert path.is_file(), f"FAMFS_REFERENCE_IMAGE={value}: no such file"
    return path
