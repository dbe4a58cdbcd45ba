# SPDX-License-Identifier: Apache-2.0
"""Contract of a guest's start: what its console and libvirt tell becomes "ready" or a verdict.

QEMU and libvirt are played: a console log that the test writes, and events that it sends.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import libvirt
import pytest

from famlab_vm import machine as machine_module
from famlab_vm.connection import Connection, EventListener
from famlab_vm.errors import (
    AgentSilent,
    BootError,
    BootPanic,
    BootTimeout,
    LabStateError,
    NoRegion,
    QemuDied,
    WorkloadFailed,
)
from famlab_vm.machine import Machine
from famlab_vm.state import LabState
from famlab_vm.workload import BootScript, Workload, boot_script
from lab_support import a_state

_CONNECTED = libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED


class _Libvirt:
    """What Machine needs of a Connection while a guest boots."""

    def __init__(self) -> None:
        self.listeners: dict[str, EventListener] = {}

    def listen(self, _domain_uuid: str, kind: str, listener: EventListener) -> None:
        self.listeners[kind] = listener

    def embedded_root(self) -> None:
        return None


class Play:
    """A guest that boots as the test says."""

    def __init__(self, state: LabState) -> None:
        self.libvirt = _Libvirt()
        self.steps: list[str] = []
        self.machine = Machine(
            state.guest("host1"), cast(Connection, self.libvirt),
            lambda _machine, step: self.steps.append(step), lambda _text: None,
        )
        self.machine.files.directory.mkdir(parents=True)
        self.console = self.machine.files.console_log.open("w")
        self.script = boot_script(Workload.load("famfs"), "host1", 2, True)
        self.turn, self.port = socket.socketpair()
        self._pool = ThreadPoolExecutor(1)
        self._job: Future[None] | None = None

    def start(self, timeout: float = 60, script: BootScript | None = None) -> None:
        """Let Machine wait for the guest."""
        chosen = script or self.script
        self._job = self._pool.submit(self.machine.wait_ready, chosen, timeout, self.turn)

    def say(self, *lines: str) -> None:
        """Write to the guest's console."""
        self.console.write("".join(f"{line}\r\n" for line in lines))
        self.console.flush()

    def tell(self, kind: str, event: int) -> None:
        """Send an event of libvirt."""
        self.libvirt.listeners[kind](kind, event, 0)

    def result(self) -> None:
        """How the wait ended."""
        assert self._job is not None
        self._job.result(10)

    def until(self, reached: Callable[[], bool]) -> None:
        """Wait for something that another thread does."""
        end = time.monotonic() + 10
        while not reached():
            assert time.monotonic() < end
            time.sleep(0.005)

    def close(self) -> None:
        """End what may still wait."""
        self.machine.cancel()
        self._pool.shutdown()
        for item in (self.console, self.turn, self.port):
            cast(Any, item).close()


@pytest.fixture
def play(run_directory: Path) -> Iterator[Play]:
    """A guest named host1, which waits for host0 before it mounts."""
    assert run_directory
    play = Play(a_state("mine"))
    yield play
    play.close()


UP_TO_DAX = (
    "[    0.000000] Linux version 7",
    "famlab: init: process 1 is /usr/lib/famlab/init (at 0.5 s)",
    "famlab: dax: /dev/dax0.0, 4096 MiB, device_dax, on region0 (at 0.6 s)",
)
WAITING = ("famlab: agent: qemu-ga on /dev/vport1p1 (at 0.7 s)", "famlab: waiting: for host0")
MOUNT = "famlab: running: famfs mount /dev/dax0.0 /mnt/famfs (at 0.8 s)"
DONE = ("famlab: every: done (at 0.9 s)", "famlab: ready: all is prepared (at 0.9 s)")


def test_ready(play: Play) -> None:
    """Ready is when init says so and the agent answers; each step is told once it is reached."""
    play.start()
    play.say(*UP_TO_DAX, *WAITING)
    play.tell("agent", _CONNECTED)
    play.until(lambda: "agent" in play.steps and "waiting" in play.steps)
    play.port.settimeout(0.05)
    with pytest.raises(TimeoutError):
        play.port.recv(1)
    play.machine.give_turn()
    play.port.settimeout(10)
    assert play.port.recv(8) == b"\n"
    play.say(MOUNT, *DONE)
    play.result()
    order = [step for step in play.steps if step != "agent"]
    assert order == ["kernel", "init", "dax", "waiting", "running", "every", "ready"]


def test_turn_before_the_guest_waits(play: Play) -> None:
    """host0 may be done before this guest is even started."""
    play.machine.give_turn()
    play.start()
    play.port.settimeout(10)
    assert play.port.recv(8) == b"\n"


VERDICTS: dict[str, tuple[list[str], type[Exception], str]] = {
    "region": (["famlab: failed: region: no window", "famlab: ready: x"], NoRegion, "no window"),
    "share": (["famlab: failed: share: no 9p", "famlab: ready: x"], BootError, "at: share\nno 9p"),
    "workload": (
        [MOUNT, "famlab: failed: every: famfs mount: ended with status 1",
         "famlab: failed: every: no luck", "famlab: ready: x"],
        WorkloadFailed, "workload famfs: host1: famfs mount: ended with status 1\nno luck$",
    ),
    "old image": (["famlab: ready: x"], BootError, "has not run .* every\n.*make image"),
}


@pytest.mark.parametrize("cause", VERDICTS)
def test_init_fails(play: Play, cause: str) -> None:
    """What init could not do has its own error, with init's words."""
    lines, kind, words = VERDICTS[cause]
    play.start()
    play.say(*UP_TO_DAX, *lines)
    play.tell("agent", _CONNECTED)
    with pytest.raises(kind, match=words):
        play.result()


def test_nothing_to_run_is_no_failure(play: Play) -> None:
    """Without commands, init has no list to report."""
    play.start(script=boot_script(Workload("none"), "host1", 2, True))
    play.say("famlab: ready: x")
    play.tell("agent", _CONNECTED)
    play.result()


@pytest.mark.parametrize("running", [False, True])
def test_panic(play: Play, running: bool) -> None:
    """A panic names the workload's command that ran, or else the boot, with the kernel's words."""
    play.start()
    play.say(*UP_TO_DAX, *([MOUNT] if running else []))
    play.say("[    1.0] Kernel panic - not syncing: on purpose")
    play.until(lambda: ("running" if running else "dax") in play.steps)
    play.tell("lifecycle", libvirt.VIR_DOMAIN_EVENT_CRASHED)
    kind, words = (WorkloadFailed, "ran famfs mount /dev/dax0.0 /mnt/famfs\n") if running else (
        BootPanic, "booted\n"
    )
    with pytest.raises(kind, match=f"the kernel panicked while it {words}.*on purpose"):
        play.result()


def test_qemu_dies(play: Play) -> None:
    """The end of QEMU is noticed at once."""
    play.start()
    play.tell("lifecycle", libvirt.VIR_DOMAIN_EVENT_STOPPED)
    with pytest.raises(QemuDied):
        play.result()


def test_no_agent(play: Play) -> None:
    """A guest that can have no agent says so."""
    play.start()
    play.say("famlab: failed: agent: no virtio port")
    with pytest.raises(AgentSilent, match="no virtio port"):
        play.result()


def test_silent(play: Play) -> None:
    """Nothing from init in the time for the boot; something, but then no more."""
    play.start(timeout=0.05)
    with pytest.raises(BootTimeout, match=r"within 0\.05 s"):
        play.result()
    play.start(timeout=0.3)
    play.say(*UP_TO_DAX)
    with pytest.raises(AgentSilent, match="last stage: dax"):
        play.result()


def test_commands_have_time_of_their_own(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for the boot ends where the workload begins; that has its commands' time."""
    monkeypatch.setattr(machine_module, "_WORKLOAD_GRACE", 0.0)
    play.start(timeout=0.2, script=BootScript("mine", "", ("every",), 1))
    began = time.monotonic()
    play.say(*UP_TO_DAX, MOUNT)
    with pytest.raises(WorkloadFailed, match="famfs mount /dev/dax0.0 /mnt/famfs: does not end"):
        play.result()
    assert 0.9 < time.monotonic() - began < 8


def test_cancelled(play: Play) -> None:
    """cancel() ends the wait, also one that has not begun."""
    threading.Timer(0.05, play.machine.cancel).start()
    play.start()
    with pytest.raises(LabStateError, match="given up"):
        play.result()
    play.start()
    with pytest.raises(LabStateError, match="given up"):
        play.result()
