# SPDX-License-Identifier: Apache-2.0
"""Commands in a guest, and files into and out of it, through the guest's exchange directory.

The first command in a guest mounts the directory there (9p tag `exchange`). Each command has a
directory of its own in it: in, out and err are the command's streams; the guest writes status when
it has ended. So output arrives as it is written, of any size, and survives the guest, and the end
is an event.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import time
import uuid as uuid_module
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from famlab_vm import process
from famlab_vm.agent import Spawner
from famlab_vm.domain import GuestFiles
from famlab_vm.errors import CommandFailed, CommandTimeout, LabStateError, OutputLimit
from famlab_vm.follow import Watch
from famlab_vm.kernel_log import is_panic
from famlab_vm.paths import hint
from famlab_vm.remove import remove_tree
from famlab_vm.transfer import LARGEST, Owner, copy_in, copy_out, make_directory, make_file
from famlab_vm.units import format_size
from famlab_vm.untrusted import open_file

# Where the exchange directory is in the guest.
MOUNTED = "/run/famlab/exchange"

_SCRIPT = """\
exchange=$1
directory=$1/$2
shift 2
if [ ! -d "$directory" ]; then
    # Fails if another first command was faster, which is as good. The static busybox that runs
    # init loads many times faster than mount does.
    busybox mkdir -p "$exchange"
    busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=none \\
        exchange "$exchange"
fi
"$@" <"$directory/in" >>"$directory/out" 2>>"$directory/err"
echo $? >"$directory/status"
"""

# How much a command may write, in bytes.
MOST_OUTPUT = 1 << 30

_BLOCK = 1 << 20
# More bytes than the words have that announce a panic.
_LONGEST_PANIC = 100

Sink = Callable[[str, bytes], None]


@dataclass(frozen=True)
class CommandResult:
    """How a command in a guest ended. `returncode` is 128+N for death by signal N, as in sh."""

    args: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text without the white space at its ends."""
        return self.stdout.decode(errors="replace").strip()


class CommandRunner:
    """Runs commands in one guest. Calls may come from several threads."""

    def __init__(self, host: str, files: GuestFiles, spawner: Spawner) -> None:
        self._host = host
        self._files = files
        self._spawner = spawner

    def run(
        self, args: Sequence[str], *, timeout: float | None = None, check: bool = False,
        stdin: bytes | IO[bytes] | None = None, sink: Sink | None = None,
        most_output: int = MOST_OUTPUT,
    ) -> CommandResult:
        """Run a command to its end.

        With `sink`, output goes to it as it comes (stream name, bytes) and not into the result.
        After `timeout` seconds the command and its descendants are killed and CommandTimeout is
        raised; after `most_output` bytes OutputLimit. With `check`, a status other than 0 raises
        CommandFailed. Raises AgentError if the command could not be started, and LabStateError if
        the guest went away meanwhile or gives a status that is none.
        """
        collected: dict[str, list[bytes]] = {"out": [], "err": []}

        def collect(stream: str, data: bytes) -> None:
            collected[stream].append(data)

        with _Job(self._files) as job:
            job.put_input(stdin)
            status = self._execute(job, args, timeout, sink or collect, most_output)
        result = CommandResult(
            tuple(args), status, b"".join(collected["out"]), b"".join(collected["err"])
        )
        if check and status != 0:
            words = (result.stderr or result.stdout).decode(errors="replace").rstrip()
            raise CommandFailed(
                f"{self._host}: {' '.join(args)}: ended with status {status}\n{words}".rstrip(),
                status, result.stdout, result.stderr,
            )
        return result

    def _execute(
        self, job: _Job, args: Sequence[str], timeout: float | None, sink: Sink, most_output: int
    ) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        with (
            _Alive(self._host, self._files) as alive,
            Watch(job.directory, self._files.console_log) as watch,
        ):
            pid = self._spawner.spawn(["sh", "-c", _SCRIPT, "famlab", MOUNTED, job.name, *args])
            try:
                return self._wait(job, watch, alive, deadline, sink, most_output)
            except LabStateError:
                raise  # there is nothing left to kill
            except BaseException:
                # Ctrl-C, a timeout, a sink that fails: the command does not run on unwatched.
                self._spawner.kill_tree(pid)
                raise

    def _wait(
        self, job: _Job, watch: Watch, alive: _Alive, deadline: float | None, sink: Sink,
        most_output: int,
    ) -> int:
        left_output = most_output
        while True:
            watch.drain()
            status = job.status()
            left_output -= job.give_output(sink, left_output + 1)
            if left_output < 0:
                raise OutputLimit(
                    f"{self._host}: the command wrote more than {format_size(most_output)} and was "
                    "killed"
                )
            if status is not None:
                return status
            alive.check()
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise CommandTimeout(f"{self._host}: the command took too long and was killed")
            select.select([watch, alive], [], [], left)

    def push(self, local: Path, remote: str, *, timeout: float | None = None) -> None:
        """Copy a file or directory of this machine into the guest, with permission bits.

        `remote` is a new name, or a directory to copy into. Raises as run() does; LabStateError for
        a FIFO, socket or device; OSError.
        """
        name = local.name if local.name not in ("", "..") else local.resolve().name
        with _Job(self._files) as job:
            copy_in(local, name, job.payload, job.owner)
            self.run(
                ["cp", "-r", "--preserve=mode", "--", f"{job.payload_in_guest}/{name}", remote],
                timeout=timeout, check=True,
            )

    def pull(
        self, remote: str, local: Path, *, timeout: float | None = None, largest: int = LARGEST
    ) -> None:
        """Copy a file or directory of the guest to this machine, links replaced by their content.

        `local` is a new name, or a directory to copy into. Set-user-id, set-group-id and sticky
        bits are dropped. Raises as run() does; LabStateError for a FIFO, socket or device, for more
        than `largest` bytes, and beyond the other limits of transfer.py; OSError.
        """
        with _Job(self._files) as job:
            self.run(
                ["cp", "-rL", "--preserve=mode", "--", remote, f"{job.payload_in_guest}/data"],
                timeout=timeout, check=True,
            )
            job.withdraw()
            target = local / Path(remote).name if local.is_dir() else local
            copy_out("data", job.payload, Path(f"{self._host}:{remote}"), target, largest)


class _Job:
    """The directory of one command in the exchange directory; removed at the end.

    The guest may put anything in its place, so it is reached by its descriptor alone.
    """

    def __init__(self, files: GuestFiles) -> None:
        self.name = uuid_module.uuid4().hex
        self._directory_of_guest = files.directory
        self._place = files.exchange / self.name
        self.payload_in_guest = f"{MOUNTED}/{self.name}/files"
        self._descriptors = ExitStack()
        self._outputs: dict[str, IO[bytes]] = {}

    def __enter__(self) -> _Job:
        with ExitStack() as made:
            made.callback(self._remove)
            exchange = self._open(os.open(self._place.parent, os.O_RDONLY | os.O_DIRECTORY))
            # QEMU serves the directory as its owner, and has to be able to use what is made in it.
            self.owner = Owner.of(exchange)
            self._descriptor = self._open(make_directory(self.name, exchange, self.owner))
            # Files that are pushed or pulled: apart from the streams, whose names they may have.
            self.payload = self._open(make_directory("files", self._descriptor, self.owner))
            for stream in ("out", "err"):
                # Kept open: the guest cannot replace what is read here by something else.
                descriptor = make_file(stream, self._descriptor, self.owner)
                self._outputs[stream] = self._descriptors.enter_context(
                    open(descriptor, "rb", buffering=0)
                )
            made.pop_all()
        return self

    def _open(self, descriptor: int) -> int:
        self._descriptors.callback(os.close, descriptor)
        return descriptor

    def __exit__(self, *_: object) -> None:
        self._remove()

    def _remove(self) -> None:
        self._descriptors.close()
        with suppress(OSError):  # `down` may be removing it
            self.withdraw()
            try:
                remove_tree(self._place)
            except NotADirectoryError:  # what the guest has put in its place
                self._place.unlink()

    def withdraw(self) -> None:
        """Move the directory to where the guest cannot reach it. Raises OSError."""
        place = self._directory_of_guest / f"job-{self.name}"
        if self._place != place:
            os.rename(self._place, place)
            self._place = place

    @property
    def directory(self) -> Path:
        """The directory, by a name that leads there whatever the guest does."""
        return Path(f"/proc/self/fd/{self._descriptor}")

    def put_input(self, stdin: bytes | IO[bytes] | None) -> None:
        """Store what the command will read."""
        with open(make_file("in", self._descriptor, self.owner), "wb") as target:
            if isinstance(stdin, bytes):
                target.write(stdin)
            elif stdin is not None:
                shutil.copyfileobj(stdin, target, _BLOCK)

    def give_output(self, sink: Sink, most: int) -> int:
        """Give to `sink` what the command has written since the last call, to `most` bytes.

        Returns its size. No more than there was when it is called: a guest can write faster than
        this reads.
        """
        given = 0
        for stream, output in self._outputs.items():
            left = min(os.fstat(output.fileno()).st_size - output.tell(), most - given)
            while left > 0 and (data := output.read(min(left, _BLOCK))):
                sink(stream, data)
                left -= len(data)
                given += len(data)
        return given

    def status(self) -> int | None:
        """Return the command's exit status, or None while it runs. Raises LabStateError."""
        shown = self._place / "status"
        try:
            descriptor = open_file("status", self._descriptor, shown)
        except FileNotFoundError:
            return None
        try:
            text = os.read(descriptor, 16)
        finally:
            os.close(descriptor)
        # It may have been written in part.
        if re.fullmatch(rb"[0-9]{0,3}", text):
            return None
        if not re.fullmatch(rb"[0-9]{1,3}\n", text) or int(text) > 255:
            raise LabStateError(f"{shown}: found {text!r}; allowed: a number to 255 and a newline")
        return int(text)


class _Alive:
    """Whether the guest can still end a command: QEMU lives and the kernel has not panicked.

    Readable for select() when QEMU has ended; a panic wakes the watch of the console log.
    """

    def __init__(self, host: str, files: GuestFiles) -> None:
        self._host = host
        self._lab = files.lab
        self._console = files.console_log
        self._descriptor = -1
        for pid in process.find_guests(files.directory):
            try:
                self._descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                pass
        if self._descriptor < 0:
            restart = hint("restart", files.lab, host)
            raise LabStateError(f"{host} does not run; {restart} starts it")
        self._offset = files.console_log.stat().st_size
        self._end_of_last = b""

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def check(self) -> None:
        """Raise LabStateError if the guest is gone."""
        if select.select([self._descriptor], [], [], 0)[0]:
            raise LabStateError(f"{self._host}: the host was killed while the command ran")
        with self._console.open("rb") as stream:
            stream.seek(self._offset)
            while block := stream.read(_BLOCK):
                fresh = self._end_of_last + block
                # The words may come in pieces.
                self._end_of_last = fresh[-_LONGEST_PANIC:]
                if is_panic(fresh.decode(errors="replace")):
                    raise LabStateError(
                        f"{self._host}: the kernel panicked while the command ran; "
                        f"see {hint('log', self._lab, self._host)}"
                    )
            self._offset = stream.tell()

    def __enter__(self) -> _Alive:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
