# SPDX-License-Identifier: Apache-2.0
"""The pytest plug-in that holds every suite to the same rules.

* every test leaves a folder of evidence (support/evidence.py);
* one that runs into a time limit leaves the stacks of what hangs (support/stacks.py);
* a kernel complaint or a daemon's error line fails the test during which it was logged;
* a process, mount, socket or file that a test leaves fails that test (support/leaks.py);
* a skip must name a missing feature (support/skips.py);
* what says nothing about the software under test is told apart (support/verdict.py);
* the first failure stops the run and nothing of it is torn down if KEEP=1 (support/keep.py);
* a SIGTERM ends the run like Ctrl-C: fixtures are torn down.
"""

from __future__ import annotations

import ctypes
import os
import signal
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from support import (
    history, keep, leaks, outcomes, paths, repeat, repro, results, selection, shard, skips, stacks,
    verdict, workers,
)  # fmt: skip
from support.evidence import Folder, observer

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LEAK_BASE = pytest.StashKey[frozenset[leaks.Leak]]()
# What was found wrong in the phase that just ended; its report turns into a failure. (An exception
# from a hook wrapper would keep older pluggy versions from finishing the other wrappers.)
_PROBLEMS = pytest.StashKey[list[str]]()
_FAILED = pytest.StashKey[bool]()
# Why the test cannot be judged, from the first phase of which that is true.
_OBSTACLE = pytest.StashKey[str]()
_adopted: list[str] = []


@contextmanager
def adopted(prefix: Path) -> Iterator[None]:
    """What lives below `prefix` may outlast a test, as a fixture of a wider scope owns it."""
    _adopted.append(str(prefix))
    try:
        yield
    finally:
        _adopted.remove(str(prefix))


def adopt(prefix: Path) -> None:
    """Like adopted(), until disown()."""
    _adopted.append(str(prefix))


def disown(prefix: Path) -> None:
    _adopted.remove(str(prefix))


def _is_adopted(leak: leaks.Leak) -> bool:
    return any(prefix in leak.what for prefix in _adopted)


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(f"signal {number}")


_own_directory: list[Path] = []


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    shard.number_and_count()
    repeat.count()
    signal.signal(signal.SIGTERM, _on_sigterm)
    # Should tests/run be killed outright, this process still tears down.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if paths.RUN_DIRECTORY not in os.environ:  # a bare pytest, without tests/run
        directory = Path(tempfile.mkdtemp(prefix="ft-"))
        os.environ[paths.RUN_DIRECTORY] = str(directory)
        os.environ[paths.RUN_MARKER] = directory.name
        os.environ[paths.RUN_RESULTS] = str(results.begin(results.suite_directory("pytest")))
        _own_directory.append(directory)
    if workers.is_worker(config):
        workers.enter_worker(config.workerinput["workerid"])  # type: ignore[attr-defined]
    else:
        config.pluginmanager.register(workers.QuietGateways(config))
        config.pluginmanager.register(outcomes.Outcomes())


@pytest.hookimpl(hookwrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, Any, None]:
    yield
    if shard.WHOLE not in config.stash:  # unless the suite has a split of its own
        config.stash[shard.WHOLE] = [item.nodeid for item in items]
        items[:] = shard.part(items)
    selected = [item.nodeid for item in items]
    shard.Selection(*shard.number_and_count(), config.stash[shard.WHOLE], selected).save(
        paths.results_directory()
    )
    items[:] = repeat.repeated(items)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    # Before workers begin, as they read it.
    if not workers.is_worker(session.config):
        repro.write_metadata(paths.results_directory())


def pytest_unconfigure(config: pytest.Config) -> None:
    for directory in _own_directory:
        if keep.kept(directory) is not None:
            continue
        leaks.sweep(directory.name, directory)


def _folder_of(item: pytest.Item) -> Folder:
    errors = [str(marker.args[0]) for marker in item.iter_markers("expects_daemon_errors")]
    # A file outside tests/ has no path in its node id.
    file = (
        item.path.relative_to(paths.TESTS) if item.path.is_relative_to(paths.TESTS) else item.path
    )
    return Folder(
        path=paths.results_directory() / paths.folder_name(item.nodeid),
        node_id="::".join([str(file), *repeat.without_repetition(item.nodeid).split("::")[1:]]),
        kernel_trouble_expected=[
            (str(marker.kwargs["host"]), str(marker.args[0]))
            for marker in item.iter_markers("expects_kernel_trouble")
        ],
        daemon_errors_expected=errors,
        parameters={name: str(value) for name, value in selection.parameters(item).items()},
    )


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, None]:
    yield
    observer.close(item.stash.get(_FAILED, False))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    observer.open(_folder_of(item))
    item.stash[_LEAK_BASE] = leaks.current()


@pytest.hookimpl(hookwrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, None]:
    yield
    # Asked before fixtures are torn down, while the hosts are as the test has left them.
    item.stash[_PROBLEMS] = [f"logged during this test: {line}" for line in observer.collect()]


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, Any, None]:
    if kept := keep.wanted() and item.stash.get(_FAILED, False):
        keep.keep(item, observer.how_to_enter())
    outcome = yield
    complaints = observer.collect(if_used=True)
    if complaints or outcome.excinfo is not None or item.stash.get(_FAILED, False):
        if not keep.wanted():
            for drop in observer.on_harm:
                drop()
            complaints += observer.collect()
    base: frozenset[leaks.Leak] = item.stash.get(_LEAK_BASE, leaks.NOTHING)
    left = leaks.NOTHING if kept else leaks.current() - base
    problems = [f"logged while it was torn down: {line}" for line in complaints]
    problems += [f"left behind: {leak}" for leak in sorted(left) if not _is_adopted(leak)]
    item.stash[_PROBLEMS] = problems
    if problems and keep.wanted() and not kept:
        keep.keep(item, observer.how_to_enter())


def _refuse(report: pytest.CollectReport | pytest.TestReport) -> bool:
    """Turns a skip that the rule does not accept into a failure; returns whether it did."""
    if report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return False
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    objection = skips.objection(reason)
    if objection is not None:
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: {objection}"
    return objection is not None


class Found(Exception):
    """What the plug-in has found after a phase of a test that was well for pytest."""


def _as_exception(
    item: pytest.Item, report: pytest.TestReport
) -> pytest.ExceptionInfo[BaseException]:
    """Something at which --pdb stops: `item.funcargs` has the fixtures of the test."""
    try:
        raise Found(report.longreprtext)
    except Found:
        return pytest.ExceptionInfo.from_current()


def _look_for_obstacle(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
) -> None:
    """Marks the report if the test cannot be judged; what follows from that is no failure."""
    error = call.excinfo.value if call.excinfo is not None else None
    cause = item.stash.get(_OBSTACLE, "")
    if not cause and not item.stash.get(_FAILED, False):
        cause = verdict.obstacle(error, report.when or "")
        if cause:
            report.user_properties.append((outcomes.PROPERTY, cause))
            item.user_properties.append((outcomes.PROPERTY, cause))
    item.stash[_OBSTACLE] = cause
    setattr(report, outcomes.PROPERTY, cause)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, None]:
    outcome = yield
    report = outcome.get_result()
    if call.when != "teardown" and call.excinfo and stacks.ran_into_limit(call.excinfo.value):
        observer.take_stacks()
    refused = _refuse(report)
    problems: list[str] = item.stash.get(_PROBLEMS, list[str]())
    item.stash[_PROBLEMS] = list[str]()
    if problems:
        report.outcome = "failed"
        report.longrepr = "\n".join([*filter(None, [report.longreprtext]), *problems])
    if report.failed:
        if call.when != "teardown":
            observer.has_failed()
        _look_for_obstacle(item, call, report)
    if refused or (problems and call.excinfo is None):
        call.excinfo = _as_exception(item, report)
    history.phase(str(report.when), report.duration, report.outcome)
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    if report.failed and report.longreprtext:
        folder = paths.results_directory() / paths.folder_name(item.nodeid)
        if folder.is_dir():
            with (folder / "failure.txt").open("a") as file:
                file.write(f"{report.when}:\n{report.longreprtext}\n")
            report.sections.append(("evidence", f"{folder} (repro.sh runs this test again)"))


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, None]:
    outcome = yield
    _refuse(outcome.get_result())
