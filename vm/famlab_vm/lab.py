# SPDX-License-Identifier: Apache-2.0
"""N guests that share memory: created, used and removed together."""

from __future__ import annotations

import uuid as uuid_module
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType

from famlab_vm import process
from famlab_vm.account import check_share, guest_user
from famlab_vm.accelerator import choose_accelerator
from famlab_vm.coherence import Memory, check_possible, make_lines_files
from famlab_vm.connection import Connection
from famlab_vm.errors import LabStateError, UsageError
from famlab_vm.lock import LabLock
from famlab_vm.machine import BOOT_TIMEOUT, Machine
from famlab_vm.memory import create_memory, outside_directories, remove_memory, remove_strays
from famlab_vm.paths import Artifacts, check_clock_offsets, check_host_count, hint, host_names
from famlab_vm.remove import remove_tree
from famlab_vm.state import LabState, lab_directory
from famlab_vm.topology import Topology
from famlab_vm.trace import Trace
from famlab_vm.workload import FIRST_HOST, BootScript, Workload, boot_script

DAX_MODES = ("device_dax", "fsdev_dax")

Say = Callable[[str], None]


def _quiet(_text: str) -> None:
    """Say nothing."""


class Lab:
    """A lab. Use Lab.create() or Lab.open(); close() leaves the guests running, down() does not."""

    def __init__(
        self, state: LabState, connection: Connection, lock: LabLock, say: Say = _quiet,
        trace: Trace | None = None,
    ) -> None:
        self.state = state
        self.name = state.name
        self.directory = state.directory
        self._connection = connection
        self._lock = lock
        self._say = say
        self._trace = trace or Trace()
        self._machines = {
            name: Machine(state.guest(name), connection, self._on_step, say)
            for name in sorted(state.hosts)
        }

    @classmethod
    def create(
        cls,
        connection: Connection,
        name: str,
        topology: Topology,
        *,
        hosts: int = 2,
        cpus: int | None = None,
        dax: str = "device_dax",
        workload: Workload | None = None,
        artifacts: Artifacts | None = None,
        kvm: bool | None = None,
        kernel_arguments: str = "",
        clock_offsets: Mapping[str, int] | None = None,
        memory: Memory | None = None,
        say: Say = _quiet,
        lock: LabLock | None = None,
        trace: Trace | None = None,
    ) -> Lab:
        """Prepare a fresh lab with zeroed shared memory; up() starts it.

        `cpus` None: as many as the topology says. `kvm` None: use KVM only if it is known to work
        here. `clock_offsets`: by how many seconds the clocks of some hosts are ahead at each of
        their boots. `memory`: coherent if None. `lock`: the lab's lock, if the caller holds it
        already. `trace`: takes the steps of up(). Raises UsageError, LabStateError (a lab of this
        name is up), PrerequisiteMissing.
        """
        check_host_count(hosts)
        offsets = check_clock_offsets(clock_offsets or {}, hosts)
        if cpus is not None:
            topology = topology.with_cpus(cpus)
        _check_dax_driver(dax)
        directory = lab_directory(name)
        artifacts = artifacts or Artifacts.find()
        # Another libvirt has a user of its own for its guests.
        user = guest_user() if connection.embedded_root() else ""
        check_share(artifacts.share, user)
        reason = "asked for"
        if kvm is None:
            kvm, reason = choose_accelerator(artifacts, say)
        memory = memory or Memory()
        check_possible(memory, kvm)
        if lock is None:
            lock = take_lock(name, say)
        try:
            clear_remains(name, say, connection)
            state = LabState(
                name=name,
                uuid=str(uuid_module.uuid4()),
                uri=connection.uri,
                topology=topology,
                dax=dax,
                kvm=kvm,
                accelerator_reason=reason,
                artifacts=artifacts,
                workload=workload or Workload("none"),
                hosts={host: str(uuid_module.uuid4()) for host in host_names(hosts)},
                kernel_arguments=kernel_arguments,
                clock_offsets=offsets,
                user=user,
                memory=str(memory),
            )
            state.save()
        except BaseException:
            lock.release()
            raise
        try:
            create_memory(topology, state.uuid, directory)
            if not memory.coherent:
                make_lines_files(topology, directory / "memory", memory.blame)
        except BaseException:
            remove_lab(directory, connection, state)
            lock.release()
            raise
        return cls(state, connection, lock, say, trace)

    @classmethod
    def open(
        cls, connection: Connection, name: str, *, say: Say = _quiet, lock: LabLock | None = None
    ) -> Lab:
        """Open a lab that is up, re-attaching to its guests. Raises LabStateError if it is not."""
        state = LabState.load(name)
        lock = lock or take_lock(name, say)
        lab = cls(state, connection, lock, say)
        for machine in lab.hosts:
            machine.attach()
        return lab

    @property
    def hosts(self) -> list[Machine]:
        """All hosts, host0 first."""
        return list(self._machines.values())

    def host(self, name: str) -> Machine:
        """Return one host. Raises LabStateError if the lab has no such host."""
        if name not in self._machines:
            raise LabStateError(
                f"lab {self.name} has no host {name!r}; it has {', '.join(self._machines)}"
            )
        return self._machines[name]

    def up(self, *, timeout: float = BOOT_TIMEOUT, keep: bool = False) -> None:
        """Start all hosts side by side and run the workload in them.

        On any failure or interrupt nothing of the lab is left, unless `keep`. Raises a BootError,
        or WorkloadFailed. `timeout` is for each host's boot, in seconds.
        """
        try:
            self._in_parallel(
                lambda machine: machine.boot(self._script(machine, fresh=True), timeout), keep
            )
            self.state.phase = "up"
            self.state.save()
        except BaseException:
            if keep:
                removal = hint("down", self.name)
                self._say(f"lab {self.name} is kept as it is; {removal} removes it")
            else:
                self._say(f"removing lab {self.name}")
                self.down()
            raise

    def restart(self, name: str, *, timeout: float = BOOT_TIMEOUT) -> None:
        """Start a host again, whatever its state; its workload's `every` commands run again.

        The shared memory and the other hosts are left as they are. Raises as up() does.
        """
        machine = self.host(name)
        machine.restart(self._script(machine, fresh=False), timeout)

    def change_dax_driver(self, dax: str) -> None:
        """Give the dax devices of all hosts, which nothing may use, to another driver.

        Takes a tenth of what a boot does. Hosts that are started again have it too. Raises
        UsageError, CommandFailed with a guest's reason: its kernel has no such driver, for example.
        """
        _check_dax_driver(dax)
        self.state.dax = dax
        self._in_parallel(
            lambda machine: machine.change_dax_driver(self.state.guest(machine.name)), keep=True
        )
        self.state.save()

    def _script(self, machine: Machine, fresh: bool) -> BootScript:
        return boot_script(self.state.workload, machine.name, len(self._machines), fresh)

    def _on_step(self, machine: Machine, step: str) -> None:
        self._trace.mark(step, machine.name)
        if machine.name == FIRST_HOST and step == "first":
            for other in self.hosts:
                other.give_turn()

    def _in_parallel(self, work: Callable[[Machine], None], keep: bool) -> None:
        with ThreadPoolExecutor(len(self._machines), thread_name_prefix="host") as pool:
            jobs = [pool.submit(work, machine) for machine in self.hosts]
            try:
                done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
                failed = [job for job in jobs if job in done and job.exception() is not None]
                if failed:
                    raise _cause(failed)
            except BaseException:
                self._give_up(keep)
                raise

    def _give_up(self, keep: bool) -> None:
        """Wake every thread that waits for a guest, so that it ends."""
        for machine in self.hosts:
            machine.cancel()
        if not keep:
            # What still waits for a command of the workload would wait for its time limit.
            process.kill_guests(self.directory)

    def down(self) -> None:
        """Kill all guests and remove everything of the lab. Works for a lab that is half dead."""
        process.kill_guests(self.directory)
        for machine in self.hosts:
            machine.settle()
            machine.release()
        remove_lab(self.directory, self._connection, self.state)
        self._lock.release()

    def close(self) -> None:
        """Let go of the lab. Its guests run on, and other commands may use it."""
        for machine in self.hosts:
            machine.release()
        self._lock.release()

    def leftovers(self) -> list[str]:
        """Return what of the lab still exists: processes and files. After down(): nothing."""
        found = [f"process {pid}" for pid in process.find_guests(self.directory)]
        candidates = [self.directory, *outside_directories(self.state.uuid)]
        if root := self._connection.embedded_root():
            for host in self.state.hosts:
                candidates += _libvirt_files(root, self.state.guest(host).domain_name)
        found += [f"file {path}" for path in sorted(set(candidates)) if path.exists()]
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        return found + [f"mount {line}" for line in mounts if f" {self.directory}/" in line]

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check_dax_driver(dax: str) -> None:
    if dax not in DAX_MODES:
        raise UsageError(f"dax: found {dax!r}; allowed: {', '.join(DAX_MODES)}")


def _cause(failed: list[Future[None]]) -> BaseException:
    """Return the failure that explains the others, which only gave up."""
    errors = [error for job in failed if (error := job.exception()) is not None]
    return next((error for error in errors if not isinstance(error, LabStateError)), errors[0])


def take_lock(name: str, say: Say = _quiet) -> LabLock:
    """Take the lock of lab `name`, waiting for another holder and saying so."""
    directory = lab_directory(name)
    while True:
        directory.mkdir(mode=0o700, exist_ok=True)
        lock = LabLock(directory / "lock")
        try:
            lock.acquire(lambda holder: say(f"lab {name}: waiting for {holder}"))
            return lock
        except FileNotFoundError:
            continue  # `down` removed the directory in between


def clear_remains(name: str, say: Say = _quiet, connection: Connection | None = None) -> None:
    """Make room for a fresh lab. The caller holds the lab's lock.

    Removes what an interrupted `up`, or a reboot, left. Raises LabStateError if a lab of this name
    is up.
    """
    directory = lab_directory(name)
    if not (directory / "state.json").exists():
        remove_strays(directory)
        return
    state = None
    try:
        state = LabState.load(name)
    except LabStateError as error:
        say(str(error))
    if state is not None and state.phase == "up" and process.find_guests(directory):
        raise LabStateError(
            f"lab {name} is up; use it, remove it with `famlab down --name {name}`, "
            "or choose another --name"
        )
    say(f"removing what an earlier lab {name} left behind")
    _remove_guests(directory, connection, state)
    # The lock is held, and the driver's directory may be open.
    keep = {directory / "lock", connection.embedded_root() if connection else None}
    for path in directory.iterdir():
        if path in keep:
            continue
        if path.is_dir():
            remove_tree(path)
        else:
            path.unlink()


def _libvirt_files(root: Path, domain_name: str) -> list[Path]:
    """Return the files that libvirt's embedded driver keeps for a domain."""
    found = [root / "log" / "qemu" / f"{domain_name}.log"]
    found += (root / "run" / "qemu").glob(f"{domain_name}.*")
    # libvirt shortens the name in this directory; its length is fixed in libvirt's source.
    found += (root / "lib" / "qemu").glob(f"domain-*-{domain_name[:20]}")
    return found


def _remove_guests(
    directory: Path, connection: Connection | None, state: LabState | None
) -> None:
    """Kill a lab's guests, make libvirt forget them, and remove their shared memory."""
    process.kill_guests(directory)
    if connection is not None and state is not None:
        for host, domain_uuid in state.hosts.items():
            connection.forget(domain_uuid)
            if root := connection.embedded_root():
                log = root / "log" / "qemu" / f"{state.guest(host).domain_name}.log"
                log.unlink(missing_ok=True)
    remove_memory(directory)


def remove_lab(directory: Path, connection: Connection | None, state: LabState | None) -> None:
    """Remove a lab's guests and files, as far as they exist. The caller holds the lab's lock."""
    _remove_guests(directory, connection, state)
    remove_tree(directory)
