# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the multi-host suite, in layers:

connection -> keeper (of labs) -> lab (booted, of the test's shape) -> cluster, mapped or served
(famfs mounted on every host: by the best method, by each of the kernel, by each there is).

A famfs stays mounted from test to test, each in a directory of its own; a test that unmounts it,
makes it anew or harms a host is marked `own_mount` and gets one of its own.

`@pytest.mark.shapes(hosts=..., topologies=..., dax=...)` gives the dimensions; HOSTS=, TOPOLOGY=
and DAX= of the environment override them (see vm/shapes.py).
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from famfs_verbs import Famfs
from famlab_vm import Artifacts, Connection
from famlab_vm.errors import (
    AgentError,
    BootError,
    CommandTimeout,
    PrerequisiteMissing,
    UsageError,
)
from famlab_vm.machine import DaxDevice
from support import plugin, programs, repro, selection, shard, stacks, verdict, workers
from support.evidence import observer
from vm import coherence, covered, lab_tests
from vm.cluster import Cluster
from vm.facts import facts
from vm.labs import LabKeeper, TestLab, run_directory
from vm.mapping import DAEMON_SERVED, METHODS, OWN_CHOICE, Probe, of_its_own, standing
from vm.patience import PATIENCE
from vm.shapes import Shape, driver_in, lab_in, shapes

_COVERED = pytest.StashKey[str]()


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    shard.number_and_count()
    if config.option.covered:
        config.option.collectonly = True
    os.environ["FAMLAB_RUN"] = str(run_directory())
    run_directory().mkdir(mode=0o700, exist_ok=True)
    os.environ["SEED"] = os.environ.get("SEED") or str(random.randrange(1_000_000))
    verdict.not_judged_in_setup(BootError, PrerequisiteMissing, AgentError)
    stacks.time_limit(CommandTimeout)
    if programs.FOREIGN and (problem := programs.problem()):
        verdict.refuse(problem)
    try:
        artifacts = Artifacts.find()
        coherence.chosen()
    except (PrerequisiteMissing, UsageError) as error:
        verdict.refuse(str(error))
    if not workers.is_worker(config):
        repro.facts.update(facts(artifacts))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--covered", action="store_true", help="runs nothing; prints the table of what is covered"
    )


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.option.covered:
        terminalreporter.write_line(config.stash[_COVERED])
    lab_tests.note(terminalreporter)
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == "seen":
                terminalreporter.write_line(f"{report.nodeid.partition('::')[2]}: {value}")


def pytest_report_header(config: pytest.Config) -> list[str]:
    seed = f"SEED={os.environ['SEED']} repeats what is chosen by chance"
    left = lab_tests.described() if lab_tests.left_out(config) else []
    return [coherence.described(), seed, *left]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "shape" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("shapes")
    wanted: list[Shape | None] = list(shapes(**(marker.kwargs if marker else {})))
    # A test for which the overrides leave no shape is not part of the matrix: see below.
    metafunc.parametrize("shape", wanted or [None], ids=str, indirect=False, scope="function")


@pytest.hookimpl(trylast=True)  # after -k
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what the overrides exclude and, unless FULL=1, all but a choice; puts tests that
    share a lab and a mount side by side.
    """
    shapes_of = {item: selection.parameters(item).get("shape", "none needed") for item in items}
    rest = [item for item in items if shapes_of[item] is not None]
    if config.option.covered:
        config.stash[_COVERED] = covered.table(rest, covered.choose(rest))
    if not selection.of_all(config):
        rest = covered.choose(rest)
    if lab_tests.left_out(config):
        rest = lab_tests.not_again(rest)
    order: dict[str, int] = {}
    for item in rest:
        order.setdefault(lab_in(item.nodeid), len(order))
    rest.sort(
        key=lambda item: (
            order[lab_in(item.nodeid)],
            driver_in(item.nodeid),
            covered.place(item).get("method", ""),
            not shares_mount(item),
        )
    )
    config.stash[shard.WHOLE] = [item.nodeid for item in rest]
    selection.keep(config, items, shard.part(rest))
    for item in items:
        marker = item.get_closest_marker("timeout")
        limit = float(marker.args[0] if marker else config.getini("timeout"))
        item.add_marker(pytest.mark.timeout(limit * PATIENCE), append=False)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    from vm.schedule import LabScheduling

    return LabScheduling(config, log)


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
    observer.on_harm.append(keeper.drop)
    yield keeper
    observer.on_harm.remove(keeper.drop)
    keeper.drop()


MOUNTING = frozenset({"cluster", "mapped", "served"})


def shares_mount(item: pytest.Item) -> bool:
    """Whether a test uses the famfs that stays mounted from test to test."""
    fixtures = MOUNTING.intersection(getattr(item, "fixturenames", ()))
    return bool(fixtures) and item.get_closest_marker("own_mount") is None


@pytest.fixture
def lab(request: pytest.FixtureRequest, keeper: LabKeeper, shape: Shape) -> TestLab:
    """A booted lab of the test's shape; the next test gets it too unless this one fails or a host
    comes to harm. Nothing is mounted unless the test shares a mount.
    """
    lab = keeper.get(shape)
    if not shares_mount(request.node):
        lab.stand_down()
    return lab


@pytest.fixture
def devices(lab: TestLab) -> list[DaxDevice]:
    """The dax devices, which are the same on all hosts."""
    return lab.devices()


@contextmanager
def mounted(request: pytest.FixtureRequest, lab: TestLab, method: str) -> Iterator[Cluster]:
    if shares_mount(request.node):
        yield standing(lab, method)
    else:
        with of_its_own(lab, method) as cluster:
            yield cluster


@pytest.fixture
def cluster(request: pytest.FixtureRequest, lab: TestLab) -> Iterator[Cluster]:
    """famfs on the first device, mounted on every host by the best method there is: a directory of
    it, or with the mark own_mount one that was made for this test.
    """
    with mounted(request, lab, "") as cluster:
        yield cluster


KERNEL_METHODS = (*METHODS, *((OWN_CHOICE,) if programs.FOREIGN else ()))


@pytest.fixture(params=KERNEL_METHODS)
def method(request: pytest.FixtureRequest) -> str:
    """The mapping methods of a kernel with ours."""
    return str(request.param)


@pytest.fixture
def mapped(request: pytest.FixtureRequest, lab: TestLab, method: str) -> Iterator[Cluster]:
    """Like cluster, but mounted by one method of the kernel."""
    with mounted(request, lab, method) as cluster:
        yield cluster


@pytest.fixture(params=(*KERNEL_METHODS, DAEMON_SERVED))
def served(request: pytest.FixtureRequest, lab: TestLab) -> Iterator[Cluster]:
    """The same for every method, that of the daemon too, in which no file is mapped shared."""
    with mounted(request, lab, str(request.param)) as cluster:
        yield cluster


@pytest.fixture
def probes(lab: TestLab) -> list[Probe]:
    """The program that maps files, on every host."""
    return [Probe(host) for host in lab.hosts]


@pytest.fixture
def master(cluster: Cluster) -> Famfs:
    return cluster.master


@pytest.fixture
def client(cluster: Cluster) -> Famfs:
    return cluster.clients[0]
