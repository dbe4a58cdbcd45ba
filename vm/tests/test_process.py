# SPDX-License-Identifier: Apache-2.0
"""Contract: exactly the guests below a directory are found and killed."""

from __future__ import annotations

import signal
from pathlib import Path

from famlab_vm.process import find_guests, kill_guests
from lab_support import Fake


def test_finds_the_guests_of_a_directory_only(tmp_path: Path, guest_process: Fake) -> None:
    """A lab's directory finds all its guests, a host's its own, a prefix of a name none."""
    first = guest_process(tmp_path / "lab" / "host0")
    second = guest_process(tmp_path / "lab" / "host1")
    guest_process(tmp_path / "lab2" / "host0")
    assert sorted(find_guests(tmp_path / "lab")) == sorted([first.pid, second.pid])
    assert find_guests(tmp_path / "lab" / "host1") == [second.pid]
    assert find_guests(tmp_path / "la") == []


def test_kills_and_waits(tmp_path: Path, guest_process: Fake) -> None:
    """After kill_guests the process has ended by SIGKILL; a second call finds nothing."""
    child = guest_process(tmp_path / "host0")
    other = guest_process(tmp_path / "host1")
    assert kill_guests(tmp_path / "host0") == [child.pid]
    assert child.wait(5) == -signal.SIGKILL
    assert kill_guests(tmp_path / "host0") == []
    assert other.poll() is None
