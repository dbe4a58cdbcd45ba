# SPDX-License-Identifier: Apache-2.0
"""Commands on several hosts in a given order of what passes between hosts and the shared memory.

Hosts meet only where a line reaches a device or comes from it. With `turnstile` among the words of
a lab's memory the plugin holds such passages (vm/noncoherent/plugin/turnstile.h): the host stands
still until the line may go. So one host runs at a time, from turn to turn, and the same turns give
the same order again. (A host's own timers go on while it runs: what its daemon does every 50 ms may
fall into another turn.)
"""

from __future__ import annotations

import enum
import mmap
import os
import select
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, TypeVar

from famlab_vm.coherence import HELD, CacheFiles
from famlab_vm.errors import LabStateError

Result = TypeVar("Result")

_PASSAGE = struct.Struct("<IIQQ")
_GO = b"x"


class Kind(enum.IntFlag):
    """What is held."""

    NONE = 0
    COMMITS = 1
    FETCHES = 2


@dataclass(frozen=True)
class Passage:
    """`count` lines of a device, from the number `line` on, that reach it or come from it."""

    kind: Kind
    device: int
    line: int
    count: int


@dataclass(frozen=True)
class Turn:
    """A host runs until it is about to make one passage more than these; None: until its command
    has ended.
    """

    host: str
    passages: int | None = None


class Turnstile:
    """What passes between one running host and the devices. As a context it ends with all free."""

    def __init__(self, files: CacheFiles) -> None:
        """Raises OSError if the host has none, as its lab has memory without `turnstile`."""
        with ExitStack() as made:
            descriptor = os.open(files.turnstile, os.O_RDWR | os.O_CLOEXEC)
            made.callback(os.close, descriptor)
            self._held = mmap.mmap(descriptor, HELD.size)
            waits, goes = files.turnstile_fifos
            flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
            self._waits = os.open(waits, flags)
            self._goes = os.open(goes, flags)

    def __enter__(self) -> Turnstile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.free()
        self._held.close()
        os.close(self._waits)
        os.close(self._goes)

    def fileno(self) -> int:
        """Readable when something waits."""
        return self._waits

    def hold(self, kinds: Kind, lines: int) -> None:
        """From now on passages of these kinds wait, of lines below the number `lines`."""
        for descriptor in (self._waits, self._goes):  # what free() has left
            try:
                while os.read(descriptor, 4096):
                    pass
            except BlockingIOError:
                pass
        HELD.pack_into(self._held, 0, 0, 0, lines)
        HELD.pack_into(self._held, 0, kinds, 0, lines)

    def next(self) -> Passage:
        """What waits. Raises BlockingIOError if nothing does."""
        kind, device, line, count = _PASSAGE.unpack(os.read(self._waits, _PASSAGE.size))
        return Passage(Kind(kind), device, line, count)

    def go(self) -> None:
        """Lets go what next() has returned."""
        os.write(self._goes, _GO)

    def free(self) -> None:
        """Nothing waits any longer."""
        HELD.pack_into(self._held, 0, 0, 0, 0)
        # One for what waits, and one for what saw that it is held and comes to wait now.
        os.write(self._goes, _GO * 2)


@contextmanager
def turnstiles_of(hosts: Mapping[str, CacheFiles]) -> Iterator[dict[str, Turnstile]]:
    """Those of several running hosts, by their names. Raises OSError as Turnstile does."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(Turnstile(files)) for name, files in hosts.items()}


@dataclass
class _Actor(Generic[Result]):
    """A host with its command."""

    name: str
    turnstile: Turnstile
    command: Callable[[], Result]
    pool: ThreadPoolExecutor
    waiting: Passage | None = None
    passed: list[Passage] = field(default_factory=list)
    result: Future[Result] | None = None
    ended: int = field(default_factory=lambda: os.eventfd(0, os.EFD_CLOEXEC))

    def _start(self) -> Future[Result]:
        future = self.pool.submit(self.command)
        future.add_done_callback(lambda _: os.eventfd_write(self.ended, 1))
        return future

    def take_turn(self, turn: Turn, timeout: float) -> None:
        left = turn.passages
        deadline = time.monotonic() + timeout
        if self.result is None:
            self.result = self._start()
        while not self.result.done():
            if self.waiting is not None:
                if left == 0:
                    return
                self.turnstile.go()
                self.passed.append(self.waiting)
                self.waiting = None
                left = None if left is None else left - 1
            patience = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self.turnstile, self.ended], [], [], patience)
            if self.turnstile in ready:
                self.waiting = self.turnstile.next()
            elif not ready:
                raise LabStateError(
                    f"{self.name}: in {timeout:g} s its command did not end, and nothing waits"
                )


@dataclass(frozen=True)
class Done(Generic[Result]):
    """What a command returned, and what passed until it had ended."""

    result: Result
    passed: Sequence[Passage]


def take_turns(
    turnstiles: Mapping[str, Turnstile],
    commands: Mapping[str, Callable[[], Result]],
    turns: Sequence[Turn],
    held: Mapping[str, Kind],
    lines: int,
    timeout: float = 60,
) -> dict[str, Done[Result]]:
    """Runs a command on each host in these turns, and then whatever has not ended.

    A host's command begins with its first turn; `held` says what waits of each host, of lines below
    `lines`, from the start. Raises what a command raises, and LabStateError if a turn does not end
    within `timeout` seconds.
    """
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(len(commands)))
        actors = {}
        for host, command in commands.items():
            actor = actors[host] = _Actor(host, turnstiles[host], command, pool)
            stack.callback(os.close, actor.ended)
            stack.callback(actor.turnstile.free)
            actor.turnstile.hold(held.get(host, Kind.NONE), lines)
        for turn in [*turns, *map(Turn, commands)]:
            actors[turn.host].take_turn(turn, timeout)
        for actor in actors.values():
            actor.turnstile.free()
        return {
            host: Done(actor.result.result(), actor.passed)
            for host, actor in actors.items()
            if actor.result is not None
        }
