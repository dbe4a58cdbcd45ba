# SPDX-License-Identifier: Apache-2.0
"""Commands in a guest, and files into and out of it, through the guest's exchange directory.

The first command in a guest mounts the directory there (9p tag `exchange`). Each command has a
directory of its own in it: in, out and err are the command's streams; the guest writes status when
it has ended. So output arrives as it is written, of any size, and survives the guest, and the end
is an event.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import time
import uuid as uuid_module
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from famlab_vm import process
from famlab_vm.agent import Spawner
from famlab_vm.domain import GuestFiles
from famlab_vm.errors import CommandFailed, CommandTimeout, LabStateError
from famlab_vm.follow import Watch
from famlab_vm.kernel_log import is_panic
from famlab_vm.paths import hint
from famlab_vm.remove import remove_tree

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

_BLOCK = 1 << 20

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
    ) -> CommandResult:
        """Run a command to its end.

        With `sink`, output goes to it as it comes (stream name, bytes) and not into the result.
        After `timeout` seconds the command and its descendants are killed and CommandTimeout is
        raised. With `check`, a status other than 0 raises CommandFailed. Raises AgentError if the
        command could not be started, and LabStateError if the guest went away meanwhile.
        """
        collected: dict[str, list[bytes]] = {"out": [], "err": []}

        def collect(stream: str, data: bytes) -> None:
            collected[stream].append(data)

        with _Job(self._files.exchange) as job:
            job.put_input(stdin)
            status = self._execute(job, args, timeout, sink or collect)
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
        self, job: _Job, args: Sequence[str], timeout: float | None, sink: Sink
    ) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        with (
            _Alive(self._host, self._files) as alive,
            Watch(job.directory, self._files.console_log) as watch,
        ):
            pid = self._spawner.spawn(["sh", "-c", _SCRIPT, "famlab", MOUNTED, job.name, *args])
            try:
                return self._wait(job, watch, alive, deadline, sink)
            except LabStateError:
                raise
            except BaseException:
                # Ctrl-C, a timeout, a sink that fails: the command does not run on unwatched.
                self._spawner.kill_tree(pid)
                raise

    def _wait(
        self, job: _Job, watch: Watch, alive: _Alive, deadline: float | None, sink: Sink
    ) -> int:
        while True:
            watch.drain()
            status = job.status()
            job.give_output(sink)
            if status is not None:
                return status
            alive.check()
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise CommandTimeout(f"{self._host}: the command took too long and was killed")
            select.select([watch, alive], [], [], left)

    def push(self, local: Path, remote: str, *, timeout: float | None = None) -> None:
        """Copy a file or directory of this machine into the guest, with permission bits.

        `remote` is a new name, or a directory to copy into.
        """
        name = local.name if local.name not in ("", "..") else local.resolve().name
        with _Job(self._files.exchange) as job:
            if local.is_dir():
                shutil.copytree(local, job.payload / name, symlinks=True)
            else:
                shutil.copy(local, job.payload / name)
            self.run(
                ["cp", "-r", "--preserve=mode", "--", f"{job.payload_in_guest}/{name}", remote],
                timeout=timeout, check=True,
            )

    def pull(self, remote: str, local: Path, *, timeout: float | None = None) -> None:
        """Copy a file or directory of the guest to this machine, links replaced by their content.

        `local` is a new name, or a directory to copy into.
        """
        with _Job(self._files.exchange) as job:
            self.run(
                ["cp", "-rL", "--preserve=mode", "--", remote, f"{job.payload_in_guest}/data"],
                timeout=timeout, check=True,
            )
            target = local / Path(remote).name if local.is_dir() else local
            _take(job.payload / "data", target)


def _take(source: Path, target: Path) -> None:
    """Copy a file or tree that a guest has put into its exchange directory, with permission bits.

    A link there would lead to a place on this machine that the guest chose, so none is taken.
    """
    inside = [Path(parent) / name for parent, *names in os.walk(source) for name in sum(names, [])]
    for path in (source.parent, source, *inside):
        if path.is_symlink():
            raise LabStateError(f"{path}: found a link; allowed: what cp -rL leaves")
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    else:
        shutil.copy(source, target, follow_symlinks=False)


class _Job:
    """The directory of one command in the exchange directory; removed at the end."""

    def __init__(self, exchange: Path) -> None:
        self.name = uuid_module.uuid4().hex
        self.directory = exchange / self.name
        # Files that are pushed or pulled: apart from the streams, whose names they may have.
        self.payload = self.directory / "files"
        self.payload_in_guest = f"{MOUNTED}/{self.name}/files"
        self._outputs: dict[str, IO[bytes]] = {}

    def __enter__(self) -> _Job:
        self.directory.mkdir(mode=0o700)
        self.payload.mkdir(mode=0o700)
        for stream in ("out", "err"):
            # Kept open: the guest cannot replace what is read here by something else.
            self._outputs[stream] = (self.directory / stream).open("xb+", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        for output in self._outputs.values():
            output.close()
        with contextlib.suppress(OSError):  # `down` may be removing it
            remove_tree(self.directory)

    def put_input(self, stdin: bytes | IO[bytes] | None) -> None:
        """Store what the command will read."""
        with (self.directory / "in").open("xb") as target:
            if isinstance(stdin, bytes):
                target.write(stdin)
            elif stdin is not None:
                shutil.copyfileobj(stdin, target, _BLOCK)

    def give_output(self, sink: Sink) -> None:
        """Give to `sink` what the command has written since the last call."""
        for stream, output in self._outputs.items():
            while data := output.read(_BLOCK):
                sink(stream, data)

    def status(self) -> int | None:
        """Return the command's exit status, or None while it runs."""
        try:
            descriptor = os.open(self.directory / "status", os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            text = os.read(descriptor, 16)
        finally:
            os.close(descriptor)
        return int(text) if text.endswith(b"\n") else None


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

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def check(self) -> None:
        """Raise LabStateError if the guest is gone."""
        if select.select([self._descriptor], [], [], 0)[0]:
            raise LabStateError(f"{self._host}: the host was killed while the command ran")
        with self._console.open("rb") as stream:
            stream.seek(self._offset)
            fresh = stream.read()
        # A line that is not complete yet is looked at again when it has grown.
        self._offset += fresh.rfind(b"\n") + 1
        if is_panic(fresh.decode(errors="replace")):
            raise LabStateError(
                f"{self._host}: the kernel panicked while the command ran; "
                f"see {hint('log', self._lab, self._host)}"
            )

    def __enter__(self) -> _Alive:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
