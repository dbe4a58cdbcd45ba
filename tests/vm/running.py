# SPDX-License-Identifier: Apache-2.0
"""Commands that go on in a guest beside the test, and may die with it."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from famfs_verbs import Famfs
from famlab_vm.errors import FamlabError
from support import history
from vm.host import LabHost
from vm.patience import PATIENCE


class Running:
    """A command of a guest, started. At the end of a block it has ended, or its guest is killed."""

    def __init__(self, host: LabHost, argv: Sequence[str], input: bytes | None = None) -> None:
        self.host, self.argv = host, list(argv)
        self.returncode: int | None = None  # stays None if the guest died under it
        self._text = ""
        self._ended = False
        self._changed = threading.Condition()
        self._command = history.Command(host.name, self.argv)
        self._thread = threading.Thread(target=self._run, args=(input,))
        self._thread.start()

    def _run(self, input: bytes | None) -> None:
        try:
            done = self.host.guest.commands().run(self.argv, stdin=input, sink=self._collect)
            self.returncode = done.returncode
        except FamlabError as error:
            self._collect("err", f"({error})\n".encode())
        self._command.end(str(self.returncode), self._text)
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _collect(self, _stream: str, data: bytes) -> None:
        with self._changed:
            self._text += data.decode(errors="replace")
            self._changed.notify_all()

    @property
    def text(self) -> str:
        """What it has said so far."""
        return self._text

    @property
    def lines(self) -> list[str]:
        """The whole lines of it."""
        return self._text.rpartition("\n")[0].splitlines()

    def wait_for(self, word: str, times: int = 1, timeout: float = 120) -> None:
        """Until that many lines begin with the word; fails if it ends before."""

        def said() -> bool:
            return sum(line.startswith(word) for line in self.lines) >= times

        with self._changed:
            self._changed.wait_for(lambda: said() or self._ended, timeout * PATIENCE)
            assert said(), f"{self}: {times} lines of {word!r} were awaited"

    def end(self, timeout: float = 120) -> int | None:
        """Waits until it has ended by itself; returns its status."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended, timeout * PATIENCE)
        assert self._ended, f"{self}: does not end"
        self._thread.join()
        return self.returncode

    def __str__(self) -> str:
        return f"{self.host.name}: {shlex.join(self.argv)}\n{self._text[-4000:]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if not self._ended:
            self.host.kill()
            self._thread.join()


# One stream, so that what was said stays in order.
_ONE_STREAM = "exec 2>&1; "
CREATE_FOR_EVER = _ONE_STREAM + (
    'i=0; while famfs creat --size 4096 "$1$i"; do echo "made $i"; i=$((i+1)); done'
)
READ_FOR_EVER = _ONE_STREAM + 'while cat "$1" >/dev/null; do echo "read"; done'
# Opens $1, then waits until somebody writes a line into $2, and says what it gets of the file.
HOLD = _ONE_STREAM + (
    'exec 9<>"$1" || exit 1; rm -f "$2"; mkfifo "$2"; echo open; read -r line <"$2"; '
    'dd bs=4096 count=1 <&9 >/dev/null; echo "read $?"; '
    'dd if=/dev/zero bs=4096 count=1 >&9; echo "write $?"'
)


def creating(host: LabHost, famfs: Famfs, prefix: str) -> Running:
    """Makes files PREFIX0, PREFIX1 ... until it cannot; says `made N` after each."""
    return Running(host, ["sh", "-c", CREATE_FOR_EVER, "sh", f"{famfs.mount_point}/{prefix}"])


def made(loop: Running, prefix: str) -> set[str]:
    """The files that creating() was told it has made."""
    return {prefix + line.split()[1] for line in loop.lines if line.startswith("made ")}


def reading(host: LabHost, famfs: Famfs, name: str) -> Running:
    """Reads a file until it cannot; says `read` after each time."""
    return Running(host, ["sh", "-c", READ_FOR_EVER, "sh", famfs.path(name)])


class Holding(Running):
    """A program that has a file open, and reads and writes it when it is let go."""

    def __init__(self, host: LabHost, famfs: Famfs, name: str) -> None:
        self._go = "/run/holding.fifo"
        super().__init__(host, ["sh", "-c", HOLD, "sh", famfs.path(name), self._go])
        self.wait_for("open")

    def use(self) -> dict[str, str]:
        """Now it reads and writes; returns the answers, `stale` or what it said instead."""
        self.host.run(["sh", "-c", 'echo go >"$1"', "sh", self._go])
        self.end()
        answers = {}
        before: list[str] = []
        for line in self.lines:
            word, _, status = line.partition(" ")
            if word in ("read", "write") and status.isdigit():
                stale = status != "0" and any("Stale file handle" in said for said in before)
                answers[word] = "stale" if stale else "\n".join([*before, line])
                before = []
            else:
                before.append(line)
        return answers


STALE = {"read": "stale", "write": "stale"}


def told_that_it_is_another(loop: Running) -> bool:
    """Whether it ended as the file system was made anew, in the words of the system or of famfs."""
    words = ("Stale file handle", "formatted anew", "was replaced")
    return loop.end() is not None and any(word in loop.text for word in words)
