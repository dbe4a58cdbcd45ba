# SPDX-License-Identifier: Apache-2.0
"""A host of a lab, as the verbs and the evidence see it."""

from __future__ import annotations

import enum
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from famlab_vm import Machine as Guest
from famlab_vm.errors import AgentError, CommandTimeout, FamlabError, LabStateError
from famlab_vm.machine import DaxDevice
from support import history, keep, paths, programs
from support.evidence import NewLogs, observer
from support.machine import Outcome, conclude
from vm.patience import PATIENCE

# One round trip for all that a host has to say: the time since boot, the new lines of its kernel's
# log, then each log of a daemon after its inode and the time when that was made: an inode comes
# back with another file. Before it comes a file that is written now, for the time that it is there.
_GATHER = """\
read -r up _ </proc/uptime
echo "$up"
dmesg | tail -n +"$1"
: >/run/now
for log in /run/famfs/*/famfsd.log*; do
    [ -e "$log" ] && echo && stat -c "=== %i %w %.Y" /run/now "$log" && cat "$log"
done
true
"""
_GATHER_TIMEOUT = 20

# Where all tasks of the kernel are, then those that are blocked, then the threads of each daemon
# whose name is given. The last line is the length of the kernel's log.
_STACKS = """\
before=$(dmesg | wc -l)
echo t >/proc/sysrq-trigger
echo w >/proc/sysrq-trigger
dmesg | tail -n +"$((before + 1))"
for pid in $(pidof "$@"); do
    timeout 60 gdb --batch --nx -ex 'thread apply all backtrace' -p "$pid" 2>&1
done
dmesg | wc -l
"""
_STACKS_TIMEOUT = 90

_CORES = "/run/famlab/cores"
# The names of those that are not older than a number of seconds.
_LIST_CORES = f"""\
now=$(date +%s)
for core in {_CORES}/*; do
    [ -e "$core" ] && [ $((now - $(stat -c %Y "$core"))) -le "$1" ] && basename "$core"
done
true
"""
# A guest may show anything there.
_CORE_NAME = re.compile(r"[\w.:-]{1,15}")  # as long as the name of a task
_MOST_CORES = 4


class State(enum.Enum):
    """What a test has made of a host, hence what the host must be."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    GONE = "gone"  # killed or panicked on purpose, or its death has been told


class LabHost:
    """A guest of a lab. What is known of a boot is asked once."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.name = guest.name
        self.state = State.STARTING
        self._console_seen = 0
        self._used = False  # since it was last asked
        self._forget_boot()

    def _forget_boot(self) -> None:
        self._kernel_lines_seen = 0
        self._logs_seen: dict[str, int] = {}
        self._directories: set[str] = set()
        self._devices: list[DaxDevice] = []
        self._caches_seen: dict[str, int] = {}

    # What a test does with it.

    def _use(self) -> Guest:
        """The guest, with which something is done now."""
        self._used = True
        return self.guest

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 60,
        check: bool = True,
        input: bytes | None = None,
    ) -> Outcome:
        command = history.Command(self.name, argv)
        try:
            done = self._use().run(argv, timeout=timeout * PATIENCE, input=input)
        except (CommandTimeout, AgentError, LabStateError) as error:
            command.end(repr(error))
            raise
        outcome = Outcome(self.name, tuple(argv), done.returncode, done.stdout, done.stderr)
        return conclude(command, outcome, check)

    def ask(self, argv: Sequence[str]) -> tuple[int, str]:
        done = self._use().run(argv, timeout=60 * PATIENCE)
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def push(self, local: Path, remote: str) -> None:
        """Copies a file of this machine into the guest."""
        self._use().push(local, remote, timeout=60 * PATIENCE)

    def devices(self) -> list[DaxDevice]:
        """Its dax devices; asked once."""
        if not self._devices:
            self._devices = self._use().dax_devices()
        return self._devices

    def has_changed_driver(self, dax: str) -> None:
        """Its dax devices have another driver than they had."""
        history.note(self.name, "driver", dax)
        self._used = True
        self._devices = []

    def ensure_directory(self, path: str) -> None:
        """Makes a directory of the guest's own memory, which lasts until it boots again."""
        if path not in self._directories:
            self.run(["mkdir", "-p", path])
            self._directories.add(path)

    def kill(self) -> None:
        """Power loss."""
        self._collect()
        history.fault(self.name, "kill")
        self.guest.kill()
        self.state = State.GONE

    def panic(self) -> None:
        """Its kernel panics."""
        self._collect()
        history.fault(self.name, "panic")
        self.state = State.GONE
        self.guest.panic()

    def pause(self) -> None:
        """Its processors and its clock stand still."""
        self.guest.pause()
        history.fault(self.name, "pause")
        self.state = State.PAUSED

    def resume(self) -> None:
        history.fault(self.name, "resume")
        self.guest.resume()
        self.state = State.RUNNING

    def machine_check(self, address: int) -> None:
        """A processor reports that memory at a physical address is lost."""
        history.fault(self.name, "machine check", hex(address))
        self.guest.machine_check(address)

    def stacks(self) -> str:
        """Where everything is; who does not answer is panicked, unless it is to be kept."""
        if self.state is State.PAUSED or not self.guest.is_running() or self.guest.panicked():
            return f"no stacks: it is {self.state.value}"
        words = ["sh", "-c", _STACKS, "sh", *programs.DAEMONS]
        try:
            said = self.guest.run(words, timeout=_STACKS_TIMEOUT * PATIENCE).stdout
            text, _, length = said.decode(errors="replace").rstrip().rpartition("\n")
            self._kernel_lines_seen = int(length)
            self._console_seen = self.guest.console_offset()
            return text
        except (FamlabError, ValueError) as error:
            return f"it does not answer: {error}\n{self._stack_by_panic()}"

    def take_cores(self, folder: Path, since: float) -> None:
        """Copies what programs have dumped in the last `since` seconds to HOST.core.PROGRAM."""
        if self.state is not State.RUNNING or self._death():
            return
        words = ["sh", "-c", _LIST_CORES, "sh", str(int(since) + 1)]
        names = self.guest.run(words, timeout=_GATHER_TIMEOUT * PATIENCE).text.splitlines()
        for name in filter(_CORE_NAME.fullmatch, names[:_MOST_CORES]):
            self.guest.pull(f"{_CORES}/{name}", folder / f"{self.name}.core.{name}", timeout=60)
            history.note(self.name, "core", name)

    def _stack_by_panic(self) -> str:
        """What its kernel prints of the processor that an NMI reaches."""
        if keep.wanted():
            return "it is left as it is: KEEP=1"
        self.state = State.GONE
        history.fault(self.name, "panic", "to see where it hangs")
        try:
            self.guest.panic()
        except LabStateError as error:
            return f"an NMI does nothing: {error}"
        text = self.guest.console_text(self._console_seen)
        self._console_seen = self.guest.console_offset()
        return text

    def how_to_enter(self) -> str:
        lab = self.guest.files.lab
        words = [f"FAMLAB_RUN={os.environ['FAMLAB_RUN']}", f"{paths.REPOSITORY}/vm/famlab"]
        return shlex.join([*words, "shell", "--name", lab, self.name])

    # What becomes of it.

    def _collect(self) -> None:
        if self.state is State.RUNNING:
            observer.collect_from(self)

    def restarts(self) -> None:
        """To be called before it boots again, whatever its state."""
        self._collect()
        history.fault(self.name, "restart")
        history.boot(self.name)
        self.state = State.STARTING

    def has_booted(self) -> None:
        """It is ready: what was known of an earlier boot is void."""
        history.ready(self.name)
        self._forget_boot()
        self._used = True
        self.state = State.RUNNING

    def _death(self) -> str:
        """Why it cannot be asked; empty if there is no reason that is known here."""
        if not self.guest.is_running():
            why = "its QEMU has ended, and no test asked for that"
            return f"{why}\n{self.guest.qemu_log()}".strip()
        if self.guest.panicked():
            return "its kernel has panicked, and no test asked for that"
        return ""

    def new_logs(self) -> NewLogs:
        return self._logs(ask=True)

    def new_logs_if_used(self) -> NewLogs:
        return self._logs(ask=self._used)

    def _logs(self, ask: bool) -> NewLogs:
        said = NewLogs(console=self.guest.console_text(self._console_seen))
        self._console_seen = self.guest.console_offset()
        if self.state is not State.RUNNING:
            return said
        said.death = self._death()
        said.caches = self._caches()
        if ask and not said.death:
            self._used = False
            try:
                self._ask_all(said)
            except (AgentError, LabStateError, CommandTimeout) as error:
                said.death = self._death() or f"it does not answer: {error}"
        if said.death:
            self.state = State.GONE
            # What it said in dying.
            said.console += self.guest.console_text(self._console_seen)
            self._console_seen = self.guest.console_offset()
        return said

    def _caches(self) -> str:
        """What its caches have done since the last call, by kind."""
        now = self.guest.description.cache_files.read_counters()
        before, self._caches_seen = self._caches_seen, now
        done = {name: value - before.get(name, 0) for name, value in now.items()}
        counted = " ".join(f"{name}={value}" for name, value in done.items() if value)
        return f"{self.guest.description.coherence}: {counted}\n" if counted else ""

    def _ask_all(self, said: NewLogs) -> None:
        words = ["sh", "-c", _GATHER, "sh", str(self._kernel_lines_seen + 1)]
        output = self.guest.run(words, timeout=_GATHER_TIMEOUT * PATIENCE, check=True).stdout
        log, *logs = output.decode(errors="replace").split("\n=== ")
        uptime, _, said.kernel_log = log.partition("\n")
        said.uptime = float(uptime)
        self._kernel_lines_seen += len(said.kernel_log.splitlines())
        for now, log in zip(logs[::2], logs[1::2]):
            said.wall = float(now.split()[-1])  # guests have no time zone
            head, _, content = log.partition("\n")
            made = head.rpartition(" ")[0]
            said.daemon_log += content[self._logs_seen.get(made, 0) :]
            self._logs_seen[made] = len(content)
