# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the multi-host suite, in layers:

connection -> keeper (of labs) -> lab (booted, of the test's shape) -> devices (shared memory ready
on every host) -> cluster (famfs made afresh and mounted on every host).

`@pytest.mark.shapes(hosts=..., topologies=..., dax=...)` gives the dimensions; HOSTS=, TOPOLOGY=
and DAX= of the environment override them (see labs.shapes).
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from famfs_verbs import Famfs
from famlab_vm import Artifacts, Connection
from famlab_vm.errors import PrerequisiteMissing
from famlab_vm.machine import DaxDevice
from support import plugin, programs
from vm.cluster import Cluster
from vm.labs import PATIENCE, LabKeeper, Shape, TestLab, run_directory, shapes
from vm.mapping import (
    DAEMON_SERVED,
    METHODS,
    OWN_CHOICE,
    Probe,
    compile_probe,
    mounted_by,
    require_method,
)

_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    os.environ["FAMLAB_RUN"] = str(run_directory())
    run_directory().mkdir(mode=0o700, exist_ok=True)
    os.environ["SEED"] = os.environ.get("SEED") or str(random.randrange(1_000_000))
    if programs.FOREIGN and (problem := programs.problem()):
        raise pytest.UsageError(problem)
    try:
        Artifacts.find()
    except PrerequisiteMissing as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header() -> str:
    return f"SEED={os.environ['SEED']} repeats what is chosen by chance"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "shape" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("shapes")
    wanted: list[Shape | None] = list(shapes(**(marker.kwargs if marker else {})))
    # A test for which the overrides leave no shape is not part of the matrix: see below.
    metafunc.parametrize("shape", wanted or [None], ids=str, indirect=False, scope="function")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what the overrides exclude, and puts tests that share a lab side by side."""

    def shape_of(item: pytest.Item) -> Shape | None | str:
        spec = getattr(item, "callspec", None)
        return (
            spec.params["shape"] if spec is not None and "shape" in spec.params else "none needed"
        )

    excluded = [item for item in items if shape_of(item) is None]
    if excluded:
        config.hook.pytest_deselected(items=excluded)
    rest = [item for item in items if shape_of(item) is not None]
    order: dict[object, int] = {}
    for item in rest:
        order.setdefault(shape_of(item), len(order))
    items[:] = sorted(rest, key=lambda item: order[shape_of(item)])
    for item in items:
        marker = item.get_closest_marker("timeout")
        limit = float(marker.args[0] if marker else config.getini("timeout"))
        item.add_marker(pytest.mark.timeout(limit * PATIENCE), append=False)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    if outcome.get_result().failed:  # type: ignore[attr-defined]
        item.stash[_FAILED] = True


@pytest.fixture(scope="session")
def connection() -> Iterator[Connection]:
    """libvirt inside this process."""
    root = run_directory() / f"libvirt-{os.getpid()}"
    plugin.adopt(root)
    with Connection.embedded(root) as opened:
        yield opened


@pytest.fixture(scope="session")
def keeper(connection: Connection) -> Iterator[LabKeeper]:
    """Who starts labs and keeps them."""
    keeper = LabKeeper(connection)
    yield keeper
    keeper.drop()


@pytest.fixture
def lab(request: pytest.FixtureRequest, keeper: LabKeeper, shape: Shape) -> Iterator[TestLab]:
    """A booted lab of the test's shape; the next test gets it too if it is well afterwards."""
    lab = keeper.get(shape)
    yield lab
    if request.node.stash.get(_FAILED, False) or not lab.is_well():
        keeper.drop()


@pytest.fixture
def devices(lab: TestLab) -> list[DaxDevice]:
    """The dax devices, which are the same on all hosts."""
    seen = [host.guest.dax_devices() for host in lab.hosts]
    for other in seen[1:]:
        assert [(d.index, d.path, d.size) for d in other] == [
            (d.index, d.path, d.size) for d in seen[0]
        ]
    assert seen[0], "no dax device"
    return seen[0]


@pytest.fixture
def cluster(lab: TestLab, devices: list[DaxDevice]) -> Iterator[Cluster]:
    """A fresh famfs on the first device, mounted on every host by the best method there is."""
    if lab.shape.dax == "fsdev_dax" and not programs.FOREIGN:
        require_method(lab.hosts[0], devices[0].path)
    cluster = Cluster(lab, devices[0].path)
    cluster.make_and_mount()
    yield cluster
    cluster.umount_all()


@pytest.fixture(scope="session")
def program() -> Path:
    """The program that maps files, compiled for guests."""
    return compile_probe()


KERNEL_METHODS = (*METHODS, *((OWN_CHOICE,) if programs.FOREIGN else ()))


@pytest.fixture(params=KERNEL_METHODS)
def method(request: pytest.FixtureRequest) -> str:
    """The mapping methods of a kernel with ours."""
    return str(request.param)


@pytest.fixture
def mapped(lab: TestLab, devices: list[DaxDevice], method: str) -> Iterator[Cluster]:
    """A fresh famfs on the first device, mounted on every host by one method of the kernel."""
    with mounted_by(method, lab, devices[0].path) as cluster:
        yield cluster


@pytest.fixture(params=(*KERNEL_METHODS, DAEMON_SERVED))
def served(
    request: pytest.FixtureRequest, lab: TestLab, devices: list[DaxDevice]
) -> Iterator[Cluster]:
    """The same for every method, that of the daemon too, in which no file is mapped shared."""
    with mounted_by(str(request.param), lab, devices[0].path) as cluster:
        yield cluster


@pytest.fixture
def probes(lab: TestLab, program: Path) -> list[Probe]:
    """The program on every host."""
    return [Probe(host, program) for host in lab.hosts]


@pytest.fixture
def master(cluster: Cluster) -> Famfs:
    return cluster.master


@pytest.fixture
def client(cluster: Cluster) -> Famfs:
    return cluster.clients[0]
