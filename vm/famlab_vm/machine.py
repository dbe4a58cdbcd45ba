# SPDX-License-Identifier: Apache-2.0
"""One guest: start it, wait until it is usable, run commands in it, kill, panic, restart it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu

from famlab_vm import console as console_log
from famlab_vm import process
from famlab_vm.account import give_to_user
from famlab_vm.agent import Agent
from famlab_vm.command import CommandResult, CommandRunner
from famlab_vm.connection import Connection
from famlab_vm.console import Console
from famlab_vm.domain import GuestDescription, domain_xml
from famlab_vm.errors import (
    AgentError,
    AgentSilent,
    BootError,
    BootPanic,
    BootTimeout,
    FamlabError,
    LabStateError,
    NoRegion,
    QemuDied,
    WorkloadFailed,
)
from famlab_vm.follow import Follower
from famlab_vm.limits import limit_files
from famlab_vm.kernel_log import is_log_line, panic_text
from famlab_vm.paths import hint
from famlab_vm.remove import remove_tree
from famlab_vm.workload import BootScript

# Seconds for one guest to boot. It takes about 3 alone; a busy machine, emulation and eight hosts
# make it many times that, and every known failure is noticed by an event long before.
BOOT_TIMEOUT = 240.0

# Seconds from the guest's "ready" line to the agent's first sign; it takes a fraction of one.
_AGENT_GRACE = 30.0
# Seconds that the workload may take longer than its commands together.
_WORKLOAD_GRACE = 30.0
# Seconds that libvirt may take to forget a domain whose end it has reported.
_REMOVAL_GRACE = 10.0

# Arguments of QEMU's `mce` around the address: processor 0, bank 9, status (valid, uncorrected,
# signalled, found while scrubbing: nobody has used it yet), global status (the program can go on),
# and what the address is (physical, down to bit 12).
_MACHINE_CHECK = "mce 0 9 0xbd000000000000c0 0x5 {:#x} 0x8c"


@dataclass(frozen=True)
class DaxDevice:
    """A line of the guest's /run/famlab/dax. `size` in bytes."""

    index: int
    path: str
    size: int
    mode: str
    region: str


class Machine:
    """One guest of a lab. Methods may be called from several threads, one boot at a time.

    `reached` is called with each step of a boot (trace.STEPS) when it is reached.
    """

    def __init__(
        self, description: GuestDescription, connection: Connection,
        reached: Callable[[Machine, str], None], say: Callable[[str], None],
    ) -> None:
        self._reached = reached
        self._say = say
        self.description = description
        self.name = description.host
        self.files = description.files
        self.console = Console(description.files.console_log)
        self._connection = connection
        self._domain: Any | None = None
        self._agent: Agent | None = None
        self._changed = threading.Condition()
        self._cancelled = False
        self._has_turn = False
        self._boot_offset = 0
        self._forget_boot()
        connection.listen(description.uuid, "lifecycle", self._on_event)
        connection.listen(description.uuid, "agent", self._on_event)

    def _forget_boot(self) -> None:
        self._agent_there = self._stopped = self._crashed = False
        self._stages: dict[str, float] = {}  # when the first line of each stage came
        self._running = ""  # the command of the workload that runs
        self._agent_failure = ""

    # Events of libvirt, in its event thread.

    def _on_event(self, kind: str, event: int, detail: int) -> None:
        with self._changed:
            if kind == "agent":
                self._agent_there = (
                    event == libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED
                )
                if self._agent_there:
                    self._reached(self, "agent")
            elif event == libvirt.VIR_DOMAIN_EVENT_CRASHED:
                self._crashed = True
            elif event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
                self._stopped = True
                self._agent_there = False
                self._domain = None
                self._agent = None
            self._changed.notify_all()

    # Life.

    def attach(self) -> bool:
        """Find the guest if it runs already. Returns whether it does."""
        domain = self._connection.find(self.description.uuid)
        if domain is None:
            return False
        try:
            crashed = domain.state()[0] == libvirt.VIR_DOMAIN_CRASHED
            connected = _agent_connected(domain)
        except libvirt.libvirtError:
            return False  # killed just now
        with self._changed:
            # Unless the event of its end came first.
            if not self._stopped:
                self._set_domain(domain)
                self._crashed = self._crashed or crashed
                self._agent_there = self._agent_there or connected
        return True

    def _set_domain(self, domain: Any) -> None:
        self._domain = domain
        self._agent = Agent(self.name, domain)

    def boot(self, script: BootScript, timeout: float = BOOT_TIMEOUT) -> None:
        """Start the guest and wait until it is ready, which includes that it has run `script`.

        Raises a BootError or WorkloadFailed (see wait_ready). `timeout` is for the boot without the
        script, in seconds.
        """
        self._say(f"{self.name}: starting")
        self.start(script)
        with socket.socket(socket.AF_UNIX) as turn:
            with suppress(OSError):  # QEMU has ended already; wait_ready() says why
                turn.connect(str(self.files.start_socket))
            self.wait_ready(script, timeout, turn)
        self._reached(self, "up")
        self._say(f"{self.name}: up")

    def restart(self, script: BootScript, timeout: float = BOOT_TIMEOUT) -> None:
        """Kill the guest if it runs or has panicked, and boot it. Shared memory stays as it is."""
        self.kill()
        with self._changed:
            self._cancelled = False
        self.boot(script, timeout)

    def start(self, script: BootScript) -> None:
        """Start QEMU. Raises QemuDied with QEMU's own words if it does not live."""
        if not self.is_running():
            self.settle()
        with self._changed:
            self._forget_boot()
        self.files.directory.mkdir(mode=0o700, exist_ok=True)
        self.files.exchange.mkdir(mode=0o700, exist_ok=True)
        give_to_user(self.files.exchange, self.description.user)
        self._give(script)
        if not self.description.coherence.coherent:
            self.description.cache_files.prepare(
                self.description.topology, self.description.coherence
            )
        self.console.mark_start()
        self._boot_offset = self.console.offset()
        xml = domain_xml(self.description)
        self.files.description.write_text(xml)
        try:
            domain = self._create(xml)
            self.files.description.write_text(domain.XMLDesc())
            limit_files(self.files.directory, self._boot_offset)
        except libvirt.libvirtError as error:
            words = _without_warnings(str(error))
            raise QemuDied(self.name, "QEMU did not start", words) from error
        with self._changed:
            if not self._stopped:
                self._set_domain(domain)
        self._reached(self, "qemu")

    def _give(self, script: BootScript) -> None:
        """Put a script where init looks for it, in place of whatever the guest has made there."""
        target = self.files.exchange / "workload"
        if target.is_dir() and not target.is_symlink():
            remove_tree(target)
        draft = self.files.directory / "workload"
        draft.write_text(script.text)
        give_to_user(draft, self.description.user)
        os.replace(draft, target)

    def _create(self, xml: str) -> Any:
        """Start the domain, also when libvirt has not quite forgotten the one before.

        It reports the end of a domain, and only then takes it off its list; no event tells when it
        has done so.
        """
        deadline = time.monotonic() + _REMOVAL_GRACE
        while True:
            try:
                return self._connection.handle.createXML(xml, 0)
            except libvirt.libvirtError as error:
                removing = "already being removed" in str(error)
                if not removing or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def wait_ready(self, script: BootScript, timeout: float, turn: socket.socket) -> None:
        """Wait until the guest has its dax devices, has run `script`, and its agent answers.

        `turn` is the guest's port for the word that host0's commands are done. Raises a BootError:
        BootPanic, NoRegion, AgentSilent, QemuDied or BootTimeout (after `timeout` seconds without
        an end of what comes before the script), or WorkloadFailed.
        """
        with Follower(self.console.path, self._boot_offset) as follower:
            reader = threading.Thread(target=self._watch_console, args=(follower,), daemon=True)
            reader.start()
            try:
                self._wait_for_ready(script, timeout, turn)
            finally:
                follower.stop()
                reader.join()
        for stage, reason in console_log.failures(self.boot_text()):
            if stage in ("region", "dax"):
                raise NoRegion(self.name, f"no usable shared memory: {stage} failed", reason)
            if stage in ("first", "every"):
                raise WorkloadFailed(f"workload {script.name}: {self.name}: {reason}")
            raise BootError(self.name, f"the guest's init failed at: {stage}", reason)
        with self._changed:
            missing = [name for name in script.lists if name not in self._stages]
        if missing:
            raise BootError(
                self.name, f"the guest's init has not run the workload's commands: {missing[0]}",
                "its image is of another version: `make image`, and start the lab anew",
            )

    def _watch_console(self, follower: Follower) -> None:
        for line in follower.lines():
            if is_log_line(line):
                self._reached(self, "kernel")
            for stage, text in console_log.stages(line):
                self._say(f"{self.name}: {stage}: {text}".rstrip(": "))
                with self._changed:
                    self._stages.setdefault(stage, time.monotonic())
                    self._running = text.rpartition(" (at ")[0] if stage == "running" else ""
                    self._changed.notify_all()
                if stage != "agent":  # its line says that it was started, not that it answers
                    self._reached(self, stage)
            for stage, reason in console_log.failures(line):
                if stage == "agent":
                    with self._changed:
                        self._agent_failure = reason
                        self._changed.notify_all()

    def _wait_for_ready(self, script: BootScript, timeout: float, turn: socket.socket) -> None:
        deadline = time.monotonic() + timeout
        told = False
        with self._changed:
            while not (self._agent_there and "ready" in self._stages):
                self._check_boot_failure(script)
                if self._agent_failure:
                    raise AgentSilent(self.name, "the guest has no agent", self._agent_failure)
                if self._has_turn and not told:
                    with suppress(OSError):  # as above
                        turn.sendall(b"\n")
                    told = True
                left = self._limit(script, deadline) - time.monotonic()
                if left <= 0:
                    raise self._silent(script, timeout)
                self._changed.wait(left)

    def _limit(self, script: BootScript, deadline: float) -> float:
        """Return until when to wait: a time of the monotonic clock."""
        if "ready" in self._stages:
            return self._stages["ready"] + _AGENT_GRACE
        begun = [self._stages[name] for name in ("waiting", "running") if name in self._stages]
        return min(begun) + script.seconds + _WORKLOAD_GRACE if begun else deadline

    def _check_boot_failure(self, script: BootScript) -> None:
        if self._cancelled:
            raise LabStateError(f"{self.name}: the start was given up")
        if not (self._crashed or self._stopped):
            return
        text = self.boot_text()
        if panic := panic_text(text):
            raise self._panicked(script, "the kernel panicked", panic)
        if self._crashed:
            raise self._panicked(
                script, "the guest reported a panic", console_log.last_lines(text)
            )
        raise QemuDied(
            self.name, self._ended_by_plugin() or "QEMU ended while the guest booted",
            f"{self.qemu_log()}\n{console_log.last_lines(text)}",
        )

    def _ended_by_plugin(self) -> str:
        reason = self.description.cache_files.why_ended()
        return f"the model of its caches has ended it: {reason}" if reason else ""

    def _panicked(self, script: BootScript, summary: str, evidence: str) -> FamlabError:
        if self._running:
            return WorkloadFailed(
                f"workload {script.name}: {self.name}: {summary} while it ran {self._running}\n"
                f"{evidence}"
            )
        return BootPanic(self.name, f"{summary} while it booted", evidence)

    def _silent(self, script: BootScript, timeout: float) -> FamlabError:
        text = self.boot_text()
        if panic := panic_text(text):
            return self._panicked(script, "the kernel panicked", panic)
        last = console_log.last_lines(text) or "(the console is empty)"
        if self._running:
            return WorkloadFailed(
                f"workload {script.name}: {self.name}: {self._running}: does not end\n{last}"
            )
        reached = [stage for stage, _ in console_log.stages(text)]
        if reached:
            return AgentSilent(
                self.name, f"the guest agent does not answer (last stage: {reached[-1]})", last
            )
        return BootTimeout(self.name, f"no sign of the guest's init within {timeout:g} s", last)

    def give_turn(self) -> None:
        """Tell a starting guest that host0 has done its commands; it may not have got there yet."""
        with self._changed:
            self._has_turn = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Make a wait_ready() in another thread give up."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()

    def kill(self) -> None:
        """Kill QEMU at once, as if the machine lost its power; returns when it is gone.

        Without effect if the guest does not run. Shared memory keeps what had reached it.
        """
        process.kill_guests(self.files.directory)

    def settle(self) -> None:
        """After kill(): wait until libvirt has noticed and removed its files for the guest.

        It waits for init to collect the process, which takes a second on some machines.
        """
        with self._changed:
            watched = self._domain is not None
        if watched:
            self._wait_until(lambda: self._stopped, 30, "is killed, but libvirt does not notice")

    def panic(self) -> None:
        """Panic the guest's kernel with an NMI; returns when it has panicked.

        The guest stays, halted, for a debugger, until restart() or kill().
        """
        domain = self._running_domain()
        if self.panicked():
            return
        self._check_not_paused(domain)
        try:
            domain.injectNMI()
        except libvirt.libvirtError as error:
            raise LabStateError(f"{self.name}: cannot be panicked: {error}") from error
        self._wait_until(
            lambda: self._crashed or self._stopped, 60, "did not panic although it got an NMI"
        )

    def pause(self) -> None:
        """Stop the guest's processors and clock, as when a virtual machine is suspended.

        It knows nothing of it afterwards. Until resume() its agent does not answer.
        """
        try:
            self._running_domain().suspend()
        except libvirt.libvirtError as error:
            raise LabStateError(f"{self.name}: cannot be paused: {error}") from error

    def resume(self) -> None:
        """Let a paused guest go on where it stopped."""
        try:
            self._running_domain().resume()
        except libvirt.libvirtError as error:
            raise LabStateError(f"{self.name}: cannot be resumed: {error}") from error

    def machine_check(self, address: int) -> None:
        """Report an uncorrected memory error at a physical address to the guest's kernel.

        Returns before the kernel has dealt with it. Memory itself stays as it is, and so do the
        kernels of other guests that share it.
        """
        domain = self._running_domain()
        try:
            said: str = libvirt_qemu.qemuMonitorCommand(
                domain, _MACHINE_CHECK.format(address),
                libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP,
            )
        except libvirt.libvirtError as error:
            raise LabStateError(f"{self.name}: cannot get a machine check: {error}") from error
        if said.strip():
            raise LabStateError(f"{self.name}: QEMU refused the machine check: {said.strip()}")

    def _wait_until(self, reached: Callable[[], bool], timeout: float, otherwise: str) -> None:
        with self._changed:
            if not self._changed.wait_for(reached, timeout):
                raise LabStateError(f"{self.name}: {otherwise} (waited {timeout:g} s)")

    def release(self) -> None:
        """Stop listening to the guest's events. The guest runs on."""
        self._connection.ignore(self.description.uuid)

    # Questions.

    def is_running(self) -> bool:
        """Whether a QEMU process of this guest exists (a panicked guest counts)."""
        return self.pid() is not None

    def panicked(self) -> bool:
        """Whether the guest's kernel has panicked."""
        with self._changed:
            return self._crashed

    def pid(self) -> int | None:
        """Return the process id of QEMU on this machine, or None."""
        return next(iter(process.find_guests(self.files.directory)), None)

    def boot_text(self) -> str:
        """Return the console since the guest's last start."""
        return self.console.boot_text()

    def console_text(self, offset: int = 0) -> str:
        """Return the console log from byte `offset` on."""
        return self.console.text(offset)

    def console_offset(self) -> int:
        """Return the size of the console log in bytes."""
        return self.console.offset()

    def qemu_log(self) -> str:
        """Return what QEMU wrote to stderr at its last start (embedded driver only)."""
        root = self._connection.embedded_root()
        if root is None:
            return ""
        try:
            path = root / "log" / "qemu" / f"{self.description.domain_name}.log"
            text = path.read_text(errors="replace")
        except OSError:
            return ""
        # After the command line, whose last line has no backslash at its end.
        lines = text.rpartition(": starting up libvirt")[2].splitlines()
        ends = [index for index, line in enumerate(lines) if not line.endswith("\\")]
        return _without_warnings("\n".join(lines[ends[1] + 1:])) if len(ends) > 1 else ""

    def xml(self) -> str:
        """Return the libvirt XML of the guest as it was started."""
        return self.files.description.read_text()

    # Work in the guest.

    def _running_domain(self) -> Any:
        with self._changed:
            if self._domain is None:
                restart = hint("restart", self.files.lab, self.name)
                raise LabStateError(f"{self.name} does not run; {restart} starts it")
            return self._domain

    def _check_not_paused(self, domain: Any) -> None:
        try:
            paused = domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED
        except libvirt.libvirtError as error:
            raise LabStateError(f"{self.name}: {error}") from error
        if paused:
            resume = hint("resume", self.files.lab, self.name)
            raise LabStateError(f"{self.name} is paused; {resume} lets it go on")

    def agent(self) -> Agent:
        """Return the agent of the running guest. Raises LabStateError if there is none."""
        self._check_not_paused(self._running_domain())
        with self._changed:
            if self._crashed:
                raise LabStateError(
                    f"{self.name} has panicked; {hint('log', self.files.lab, self.name)} shows "
                    f"why, {hint('restart', self.files.lab, self.name)} starts it again"
                )
            # After a re-attach libvirt needs a moment to find the agent.
            self._changed.wait_for(lambda: self._agent_there or self._stopped, _AGENT_GRACE)
            if not self._agent_there or self._agent is None:
                raise AgentError(f"{self.name}: the guest agent is not connected")
            return self._agent

    def commands(self) -> CommandRunner:
        """Return what runs commands in the running guest. Raises LabStateError, AgentError."""
        return CommandRunner(self.name, self.files, self.agent())

    def run(
        self, args: Sequence[str], *, timeout: float | None = None, check: bool = False,
        input: bytes | None = None,
    ) -> CommandResult:
        """Run a command in the guest to its end; see CommandRunner.run."""
        return self.commands().run(args, timeout=timeout, check=check, stdin=input)

    def push(self, local: Path | str, remote: str, *, timeout: float | None = None) -> None:
        """Copy a file or directory of this machine into the guest, with permission bits."""
        self.commands().push(Path(local), remote, timeout=timeout)

    def pull(self, remote: str, local: Path | str, *, timeout: float | None = None) -> None:
        """Copy a file or directory of the guest to this machine."""
        self.commands().pull(remote, Path(local), timeout=timeout)

    def dax_devices(self) -> list[DaxDevice]:
        """Return the guest's dax devices, in the order that is equal on all guests."""
        return parse_dax_devices(self.run(["cat", "/run/famlab/dax"], check=True).text)

    def change_dax_driver(self, description: GuestDescription) -> None:
        """Give all dax devices, which nothing may use, to the driver of `description`.

        The next boot is with that description too. Raises CommandFailed with the guest's reason.
        """
        self.run(["/usr/lib/famlab/change-driver", description.dax], check=True, timeout=60)
        self.description = description

    def dmesg(self) -> str:
        """Return the guest kernel's log."""
        return self.run(["dmesg"], check=True, timeout=60).stdout.decode(errors="replace")


def _without_warnings(text: str) -> str:
    """Return QEMU's words without its warnings, which libvirt's arguments cause at every start."""
    noise = ("warning:", "Please use readonly=on", " is tainted: ")
    return "\n".join(
        line for line in text.splitlines() if not any(word in line for word in noise)
    )


def _agent_connected(domain: Any) -> bool:
    xml: str = domain.XMLDesc()
    channel = xml.partition("name='org.qemu.guest_agent.0'")[2].partition(">")[0]
    return "state='connected'" in channel


def parse_dax_devices(text: str) -> list[DaxDevice]:
    """Parse lines of `INDEX PATH SIZE MODE REGION`. Raises FamlabError for anything else."""
    devices = []
    for line in text.splitlines():
        try:
            index, path, size, mode, region = line.split()
            devices.append(DaxDevice(int(index), path, int(size), mode, region))
        except ValueError:
            raise FamlabError(
                f"/run/famlab/dax: found {line!r}; allowed: INDEX PATH SIZE MODE REGION"
            ) from None
    return devices
