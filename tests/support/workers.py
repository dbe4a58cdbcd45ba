# SPDX-License-Identifier: Apache-2.0
"""What is each worker's own when pytest-xdist runs several tests at once.

A worker's run directory and marker are below those of the run, so the check for what a test has
left sees its own worker only, and the sweep at the end of the run sees all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from support.paths import RUN_DIRECTORY, RUN_MARKER


def enter_worker(worker_id: str) -> None:
    """Gives this process, a worker of pytest-xdist, a run directory and a marker of its own."""
    directory = os.path.join(os.environ[RUN_DIRECTORY], worker_id)
    os.mkdir(directory, mode=0o700)
    os.environ[RUN_DIRECTORY] = directory
    os.environ[RUN_MARKER] = f"{os.environ[RUN_MARKER]}.{worker_id}"


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is one that pytest-xdist has started."""
    return hasattr(config, "workerinput")


class QuietGateways:
    """Keeps pytest-xdist from asking each new worker for its version, as it does with -v.

    The worker may still be at that in its main thread when the tests come; they would run in
    another one, where no signal can be handled.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._option = config.option

    @pytest.hookimpl(optionalhook=True, hookwrapper=True)
    def pytest_xdist_newgateway(self) -> Iterator[None]:
        verbose, self._option.verbose = self._option.verbose, min(0, self._option.verbose)
        yield
        self._option.verbose = verbose
