# SPDX-License-Identifier: Apache-2.0
"""Contract: when `famlab up` fails, its exit code and its message tell why, and no lab is left."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest
from support import paths
from vm.command import FAMLAB, famlab
from vm.labs import run_directory

pytestmark = pytest.mark.of_the_lab


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a lab that the test itself must not leave."""
    yield "failing"
    assert not (run_directory() / "failing").exists()


# Exit code, a word of the message, and how it is provoked.
FAILING = {
    "usage": (2, "hosts", ["--hosts", "0"]),
    "topology": (2, "no-such-topology", ["--topology", "no-such-topology"]),
    "panic": (
        10,
        "Kernel panic - not syncing",
        ["--hosts", "1", "--kernel-arguments", "init=/nonexistent"],
    ),
    "no region": (
        11,
        "region",
        ["--hosts", "1", "--kernel-arguments", "initcall_blacklist=cxl_acpi_init"],
    ),
    "silent": (
        12,
        "agent",
        [
            "--hosts",
            "1",
            "--timeout",
            "15",
            "--kernel-arguments",
            "initcall_blacklist=virtio_console_init",
        ],
    ),
    "qemu dies": (13, "QEMU", ["--hosts", "1", "--qemu", "/bin/false"]),
    "no kernel": (15, "/nonexistent", ["--kernel", "/nonexistent"]),
}


@pytest.mark.parametrize("cause", FAILING)
def test_exit_code_tells_why_up_failed(name: str, cause: str) -> None:
    """Each way of failing has its exit code and a message, and leaves no lab."""
    code, message, words = FAILING[cause]
    failed = famlab("up", "--name", name, *words)
    assert failed.returncode == code, failed.stderr.decode()
    assert message in failed.stderr.decode()


def test_failing_workload_is_told_apart(name: str) -> None:
    """A workload command that fails: exit code 14, with the command's own words."""
    workload = paths.run_directory() / "bad.yaml"
    workload.write_text(
        "description: fails\nevery:\n  - {run: [sh, -c, 'echo no luck >&2; exit 3']}\n"
    )
    try:
        failed = famlab("up", "--name", name, "--hosts", "1", "--workload", str(workload))
    finally:
        workload.unlink()
    assert failed.returncode == 14
    assert b"no luck" in failed.stderr


def test_interrupted_up_leaves_nothing(name: str) -> None:
    """Ctrl-C while the guests boot: exit code 130, and the leak check finds nothing."""
    up = subprocess.Popen(
        [str(FAMLAB), "up", "--name", name],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert up.stderr is not None
    for line in up.stderr:
        if b"host0: " in line and b"starting" not in line:  # a stage of its boot
            up.send_signal(signal.SIGINT)
            break
    up.stderr.read()
    assert up.wait(60) == 130
