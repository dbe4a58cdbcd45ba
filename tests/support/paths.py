# SPDX-License-Identifier: Apache-2.0
"""Where things are, and the environment that one run of a suite carries.

`tests/run` sets the variables; a bare `pytest` gets them from the plug-in, so both work the same.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TESTS = REPOSITORY / "tests"
BUILD = REPOSITORY / "build"
# The programs under test; any famfs with the same command line will do.
BINARIES = Path(os.environ.get("FAMFS_BIN") or BUILD / "bin").resolve()

# Every process that a run starts inherits RUN_MARKER, so what is left of it can be found again.
RUN_MARKER = "FAMLAB_TEST_RUN"
# The folder that holds all files, sockets and mounts of a run; short, as socket paths are limited.
RUN_DIRECTORY = "FAMLAB_TEST_DIR"
# Where the folders of runs go, and that of this run (support/results.py).
RESULTS_DIRECTORY = "FAMLAB_TEST_RESULTS"
RUN_RESULTS = "FAMLAB_TEST_RUN_RESULTS"
# The suite that tests/run was asked for.
SUITE = "FAMLAB_TEST_SUITE"

# What a user may change from outside; repro.sh repeats those that are set.
OVERRIDES = (
    "KERNEL",
    "KERNEL_FLAVOR",
    "QEMU",
    "HOSTS",
    "TOPOLOGY",
    "DAX",
    "CPUS",
    "MEMORY",
    "BLAME",
    "PATIENCE",
    "FULL",
    "ROUNDS",
    "TORTURE",
    "SEED",
    "FAMLAB_CACHE",
    "FAMFS_BIN",
    "FAMFS_REFERENCE_IMAGE",
    "ASAN_OPTIONS",
    "UBSAN_OPTIONS",
    "TSAN_OPTIONS",
    "CI",
)


def run_directory() -> Path:
    return Path(os.environ[RUN_DIRECTORY])


def results_directory() -> Path:
    """The folder that this run leaves."""
    return Path(os.environ[RUN_RESULTS])


def folder_name(node_id: str) -> str:
    """A test's folder name: predictable from its node id and safe in a shell."""
    name = node_id.replace("::", ".").replace("/", ".").replace(".py.", ".")
    name = re.sub(r"[^A-Za-z0-9._,=+-]+", "_", name).strip("_")
    return name[:180]
