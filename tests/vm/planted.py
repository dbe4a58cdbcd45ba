# SPDX-License-Identifier: Apache-2.0
"""Trouble that is planted; test_verdicts.py runs these and looks at the verdicts. Nobody else does:
the name keeps them out of every suite.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from vm.labs import LabKeeper, TestLab
from vm.shapes import Shape

pytestmark = pytest.mark.shapes(hosts=(2,), fewest=2)


def test_nothing_is_wrong(lab: TestLab, shape: Shape) -> None:
    lab.hosts[1].run(["true"])


def test_qemu_is_killed_after_the_last_assertion(lab: TestLab, shape: Shape) -> None:
    lab.hosts[1].run(["true"])
    pid = lab.hosts[1].guest.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_host_hangs_after_the_last_assertion(lab: TestLab, shape: Shape) -> None:
    lab.hosts[1].guest.pause()  # not by the verb, which would say that it is meant


def test_kernel_panics_after_the_last_assertion(lab: TestLab, shape: Shape) -> None:
    lab.hosts[1].guest.panic()


def test_program_dumps_core(lab: TestLab, shape: Shape) -> None:
    lab.hosts[1].run(["sh", "-c", "kill -SEGV $$"], check=False)
    raise AssertionError("planted, with a core")


@pytest.fixture
def warning_at_the_end(lab: TestLab) -> Iterator[None]:
    yield
    lab.hosts[1].run(["sh", "-c", "echo 'WARNING: planted' >/dev/kmsg"])


def test_kernel_warns_in_teardown(lab: TestLab, shape: Shape, warning_at_the_end: None) -> None:
    lab.hosts[1].run(["true"])


@pytest.mark.expects_kernel_trouble("WARNING: planted", host="host0")
def test_other_host_warns(lab: TestLab, shape: Shape, warning_at_the_end: None) -> None:
    lab.hosts[0].run(["sh", "-c", "echo 'WARNING: planted' >/dev/kmsg"])


@pytest.fixture
def no_space(lab: TestLab) -> None:
    with open("/dev/full", "wb") as file:
        file.write(b"x")


def test_disk_is_full(lab: TestLab, shape: Shape, no_space: None) -> None:
    lab.hosts[1].run(["true"])


@pytest.fixture
def no_init(keeper: LabKeeper, shape: Shape) -> Iterator[None]:
    keeper.end(keeper.start(shape, kernel_arguments="init=/nonexistent"))
    yield


def test_guests_do_not_boot(shape: Shape, no_init: None) -> None:
    assert shape
