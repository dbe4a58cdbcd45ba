# SPDX-License-Identifier: Apache-2.0
"""What each subcommand of famlab does. Modules that need libvirt are loaded when they are used."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from famlab_vm import process
from famlab_vm.coherence import Memory
from famlab_vm.console import Console
from famlab_vm.errors import FamlabError, LabStateError, PrerequisiteMissing, UsageError
from famlab_vm.kernel_log import is_panic
from famlab_vm.memory import remove_strays
from famlab_vm.paths import (
    DRIVER_DIRECTORY,
    HOST_PACKAGES,
    Artifacts,
    check_clock_offsets,
    check_host_count,
    check_host_name,
    hint,
    kernel_with_symbols,
)
from famlab_vm.progress import Progress
from famlab_vm.remove import remove_tree
from famlab_vm.separate import in_child
from famlab_vm.state import LabState, lab_directory, lab_names
from famlab_vm.terminal import show, show_bytes
from famlab_vm.topology import Topology, topology_names
from famlab_vm.trace import Trace
from famlab_vm.units import format_size
from famlab_vm.workload import Workload

if TYPE_CHECKING:
    from famlab_vm.agent import Agent
    from famlab_vm.command import CommandRunner
    from famlab_vm.lab import Lab
    from famlab_vm.machine import Machine

# Seconds to tell a host the size of the terminal; without effect if it takes longer.
_SIZE_TIMEOUT = 10.0


def up(args: argparse.Namespace) -> int:
    """Start a lab."""
    progress = Progress()
    trace = Trace()
    trace.mark("python")
    directory = lab_directory(args.name)
    check_host_count(args.hosts)
    clock_offsets = check_clock_offsets(dict(args.clock_offset), args.hosts)
    topology = Topology.load(args.topology)
    if args.cpus is not None:
        topology = topology.with_cpus(args.cpus)
    workload = Workload.load(args.workload)
    memory = Memory.parse(args.memory)
    artifacts = Artifacts.find(args.kernel, args.qemu, args.share)
    from famlab_vm.connection import Connection, embedded_uri
    from famlab_vm.lab import Lab, clear_remains, remove_lab, take_lock
    from famlab_vm.machine import BOOT_TIMEOUT

    with take_lock(args.name, progress.say) as lock:
        # Before libvirt is opened: it would find the guests that this kills.
        clear_remains(args.name, progress.say)
        try:
            connection = Connection.open(args.uri or embedded_uri(directory / DRIVER_DIRECTORY))
            trace.mark("libvirt")
            lab = Lab.create(
                connection, args.name, topology, hosts=args.hosts, dax=args.dax,
                workload=workload, artifacts=artifacts,
                kvm={"auto": None, "kvm": True, "tcg": False}[args.accelerator],
                kernel_arguments=args.kernel_arguments, clock_offsets=clock_offsets, memory=memory,
                say=progress.say, lock=lock, trace=trace,
            )
            progress.say(
                f"lab {args.name}: {args.hosts} hosts, topology {topology.name}, "
                f"{'KVM' if lab.state.kvm else 'TCG'}"
            )
        except BaseException:
            if directory.exists():
                remove_lab(directory, None, None)
            raise
        try:
            lab.up(timeout=args.timeout or BOOT_TIMEOUT, keep=args.keep)
        finally:
            trace.mark("up")
            if args.trace:
                print("\n".join(trace.table()))
        others = (hint("shell", args.name, "host0"), hint("status", args.name),
                  hint("down", args.name))
        progress.say(f"lab {args.name} is up; try: {', '.join(others)}")
        lab.close()
    return 0


@contextmanager
def _opened(name: str) -> Iterator[Lab]:
    """Open a lab for a command that talks to its guests."""
    LabState.load(name)
    progress = Progress()
    from famlab_vm.connection import Connection
    from famlab_vm.lab import Lab, take_lock

    lock = take_lock(name, progress.say)
    try:
        state = LabState.load(name)
    except LabStateError:
        # `down` was waited for; what taking the lock has made again goes.
        if os.listdir(lock.path.parent) == [lock.path.name]:
            remove_tree(lock.path.parent)
        lock.release()
        raise
    with Connection.open(state.uri) as connection:
        with Lab.open(connection, name, say=progress.say, lock=lock) as lab:
            yield lab


def down(args: argparse.Namespace) -> int:
    """Remove a lab, whatever its state."""
    directory = lab_directory(args.name)
    progress = Progress()
    if not directory.exists():
        strays = remove_strays(directory)
        found = f"{len(strays)} guests without a lab killed" if strays else "nothing to do"
        progress.say(f"lab {args.name} is not up; {found}")
        return 0
    # The guests go first, without the lock: a command that waits for one must not delay this.
    killed = process.kill_guests(directory)
    from famlab_vm.lab import remove_lab, take_lock

    lock = take_lock(args.name, progress.say)
    state = None
    connection = None
    try:
        state = LabState.load(args.name)
    except LabStateError as error:
        progress.say(f"{error}")
    if state is not None and not state.uri.endswith(f"={directory / DRIVER_DIRECTORY}"):
        # A driver directory or daemon that others use too has to be told that the guests are gone.
        from famlab_vm.connection import Connection

        try:
            connection = Connection.open(state.uri)
        except PrerequisiteMissing as error:
            progress.say(f"{error}")
    remove_lab(directory, connection, state)
    lock.release()
    progress.say(f"lab {args.name} removed ({len(killed)} guests killed)")
    return 0


def status(args: argparse.Namespace) -> int:
    """Show labs and their hosts."""
    from famlab_vm.status import describe, lab_status

    labs = []
    for name in lab_names() if args.name is None else [args.name]:
        try:
            labs.append(lab_status(LabState.load(name)))
        except LabStateError as error:
            if args.name is not None:
                raise
            # Unreadable, or removed just now: the others are shown all the same.
            show(f"famlab: {error}", sys.stderr)
    if args.json:
        print(json.dumps(labs, indent=1))
    elif not labs:
        print("no lab is up; start one: famlab up")
    else:
        show("\n\n".join(describe(lab) for lab in labs))
    return 0


def blame(args: argparse.Namespace) -> int:
    """Say what was wrong with a lab's shared memory; 1 if something was."""
    from famlab_vm import blame_report
    from famlab_vm.blame import BlamedLab

    state = LabState.load(args.name)
    if not state.blames:
        raise UsageError(
            f"lab {args.name}: its memory is {state.memory}; accesses are watched in one of "
            "`famlab up --memory noncoherent:strict,blame`"
        )
    lab = BlamedLab.of(state, [Path(name) for name in args.programs])
    findings, in_vain = lab.findings(), lab.flushes_in_vain()
    if args.html:
        page = blame_report.as_html(findings, in_vain, f"Lab {args.name}")
        Path(args.html).write_text(page)
    write = blame_report.as_json if args.json else blame_report.as_text
    show(write(findings, in_vain).removesuffix("\n"))
    return 0 if all(one.legal for one in findings) else 1


def _host_state(args: argparse.Namespace) -> LabState:
    """Return the lab's state after a check that it has the host."""
    check_host_name(args.host)
    state = LabState.load(args.name)
    state.guest(args.host)
    return state


class _ShortSpawner:
    """Starts processes in a host from a child process that ends at once.

    So the lab is free for other commands while one waits for its process in the guest.
    """

    def __init__(self, name: str, host: str) -> None:
        self._name = name
        self._host = host

    def _agent(self, use: Callable[[Agent], int]) -> int:
        def work() -> int:
            with _opened(self._name) as lab:
                return use(lab.host(self._host).agent())

        return in_child(work)

    def spawn(self, args: Sequence[str]) -> int:
        """See Spawner."""
        return self._agent(lambda agent: agent.spawn(args))

    def kill_tree(self, pid: int) -> int:
        """See Spawner."""
        return self._agent(lambda agent: agent.kill_tree(pid))


def _runner(args: argparse.Namespace) -> CommandRunner:
    from famlab_vm.command import CommandRunner

    files = _host_state(args).guest(args.host).files
    return CommandRunner(args.host, files, _ShortSpawner(args.name, args.host))


def execute(args: argparse.Namespace) -> int:
    """Run a command in a host, with its output as it comes."""

    def show(stream: str, data: bytes) -> None:
        target = sys.stdout.buffer if stream == "out" else sys.stderr.buffer
        target.write(data)
        target.flush()

    stdin = sys.stdin.buffer if args.stdin else None
    result = _runner(args).run(args.args, timeout=args.timeout, stdin=stdin, sink=show)
    return result.returncode


def shell(args: argparse.Namespace) -> int:
    """Connect the terminal to a host's shell."""
    files = _host_state(args).guest(args.host).files
    if not process.find_guests(files.directory):
        restart = hint("restart", args.name, args.host)
        raise LabStateError(f"{args.host} does not run; {restart} starts it")
    if is_panic(Console(files.console_log).boot_text()):
        raise LabStateError(
            f"{args.host} has panicked; {hint('log', args.name, args.host)} shows why"
        )
    # QEMU serves one client of the socket; a second one would wait without a word. Held by socat.
    lock = os.open(files.directory / "shell.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LabStateError(f"{args.host}: another `famlab shell` is open on it") from None
    os.set_inheritable(lock, True)
    if sys.stdin.isatty():
        size = os.get_terminal_size(sys.stdin.fileno())
        words = ["stty", "-F", "/dev/hvc0", "rows", str(size.lines), "cols", str(size.columns)]
        with suppress(FamlabError):  # a shell of the wrong size is better than none
            _runner(args).run(words, timeout=_SIZE_TIMEOUT)
    print(f"{args.host}: press Enter for a prompt; Ctrl-] leaves", file=sys.stderr)
    terminal = "STDIO,raw,echo=0,escape=0x1d" if sys.stdin.isatty() else "STDIO"
    arguments = ["socat", terminal, f"UNIX-CONNECT:{files.shell_socket}"]
    try:
        os.execvp(arguments[0], arguments)
    except FileNotFoundError:
        raise PrerequisiteMissing(f"socat is not installed; run `{HOST_PACKAGES}`") from None


def push(args: argparse.Namespace) -> int:
    """Copy a file or directory into a host."""
    _runner(args).push(Path(args.local), args.remote)
    return 0


def pull(args: argparse.Namespace) -> int:
    """Copy a file or directory out of a host."""
    _runner(args).pull(args.remote, Path(args.local))
    return 0


def log(args: argparse.Namespace) -> int:
    """Print a host's console."""
    path = _host_state(args).guest(args.host).files.console_log
    from famlab_vm.follow import Follower

    with Follower(path) as follower:
        if not args.follow:
            follower.stop()
        show_bytes(follower.chunks())
    return 0


def xml(args: argparse.Namespace) -> int:
    """Print a host's libvirt description."""
    print(_host_state(args).guest(args.host).files.description.read_text().rstrip())
    return 0


def kill(args: argparse.Namespace) -> int:
    """Kill a host. Needs no libvirt and no lock, so it works while another command runs."""
    files = _host_state(args).guest(args.host).files
    if not process.kill_guests(files.directory):
        raise LabStateError(f"{args.host} does not run")
    return 0


@contextmanager
def _opened_host(args: argparse.Namespace) -> Iterator[Machine]:
    """Open the lab of a host that a command is about."""
    check_host_name(args.host)
    with _opened(args.name) as lab:
        yield lab.host(args.host)


def panic(args: argparse.Namespace) -> int:
    """Panic a host's kernel."""
    with _opened_host(args) as host:
        host.panic()
    return 0


def pause(args: argparse.Namespace) -> int:
    """Make a host stand still."""
    with _opened_host(args) as host:
        host.pause()
    return 0


def resume(args: argparse.Namespace) -> int:
    """Let a paused host go on."""
    with _opened_host(args) as host:
        host.resume()
    return 0


def mce(args: argparse.Namespace) -> int:
    """Make memory fail under a host's kernel."""
    with _opened_host(args) as host:
        host.machine_check(args.address)
    return 0


def restart(args: argparse.Namespace) -> int:
    """Start a host again."""
    check_host_name(args.host)
    with _opened(args.name) as lab:
        from famlab_vm.machine import BOOT_TIMEOUT

        lab.restart(args.host, timeout=args.timeout or BOOT_TIMEOUT)
    return 0


def gdb(args: argparse.Namespace) -> int:
    """Print how to attach gdb."""
    guest = _host_state(args).guest(args.host)
    symbols = kernel_with_symbols(guest.kernel)
    if symbols is None:
        symbols = Path("VMLINUX")
        print(f"famlab: {guest.kernel} has no symbols for gdb, and no vmlinux is found beside it; "
              "put in the name of its vmlinux", file=sys.stderr)
    print(f"gdb -ex 'target remote {guest.files.gdb_socket}' {symbols}")
    return 0


def topologies(_args: argparse.Namespace) -> int:
    """List the topologies."""
    for name in topology_names():
        topology = Topology.load(name)
        print(f"{name:15} {format_size(topology.shared_size):>4}  {topology.description}")
    return 0


def doctor(args: argparse.Namespace) -> int:
    """Say what this machine has and lacks."""
    from famlab_vm.doctor import examine

    return examine(args.kernel, args.qemu, print)
