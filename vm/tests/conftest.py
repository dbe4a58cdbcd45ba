# SPDX-License-Identifier: Apache-2.0
"""A run directory of its own for each test, and processes that look like a guest's QEMU."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_support import FAKE_LAB, Fake


@pytest.fixture
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty run directory that famlab uses; the path is short, as sockets demand."""
    monkeypatch.setenv("FAMLAB_RUN", str(tmp_path / "r"))
    # pytest's own directories are longer than a socket's address may be.
    monkeypatch.setattr("famlab_vm.paths._SOCKET_PATH_BYTES", 4096)
    return tmp_path / "r"


@pytest.fixture
def guest_process() -> Iterator[Fake]:
    """Start processes with the command line that marks the guest of a directory."""
    started = []

    def start(directory: Path) -> subprocess.Popen[bytes]:
        # A marker argument of sh, as QEMU has it: -gdb unix:DIRECTORY/gdb.sock
        argument = f"unix:{directory}/gdb.sock,server=on"
        child = subprocess.Popen(
            ["sh", "-c", "echo; read forever", "qemu", "-append",
             f"init=/init famlab.lab={FAKE_LAB} x", "-gdb", argument],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        started.append(child)
        # Its command line is not to be seen before it runs.
        assert child.stdout is not None
        child.stdout.readline()
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()
