# SPDX-License-Identifier: Apache-2.0
"""Contract: hosts run one at a time, in the turns that are given."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from famlab_vm.coherence import TURNSTILE, CacheFiles, Memory
from famlab_vm.errors import LabStateError
from famlab_vm.topology import Topology
from famlab_vm.turns import Kind, Passage, Turn, Turnstile, take_turns

LINES = 100


class Plugin:
    """Passes through a turnstile as vm/noncoherent/plugin/turnstile.cpp does."""

    def __init__(self, name: str, files: CacheFiles, log: list[str]) -> None:
        self._name, self._log, self._files = name, log, files
        self._waits, self._goes = (os.open(path, os.O_RDWR) for path in files.turnstile_fifos)

    def pass_line(self, kind: Kind, line: int) -> None:
        held, _, lines = struct.unpack("<IIQ", self._files.turnstile.read_bytes())
        if held & kind and line < lines:
            os.write(self._waits, struct.pack("<IIQQ", kind, 0, line, 1))
            os.read(self._goes, 1)
        self._log.append(f"{self._name}{line}")

    def commits(self, *lines: int) -> Callable[[], str]:
        def work() -> str:
            for line in lines:
                self.pass_line(Kind.COMMITS, line)
            return self._name

        return work


@pytest.fixture
def log() -> list[str]:
    """What has passed."""
    return []


@pytest.fixture
def hosts(tmp_path: Path, log: list[str]) -> Iterator[dict[str, tuple[Plugin, Turnstile]]]:
    """Two."""
    (tmp_path / "memory").mkdir()
    with ExitStack() as stack:
        found = {}
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            files = CacheFiles(tmp_path / "memory", tmp_path / name, name)
            files.prepare(Topology.load("one-device"), Memory("strict", TURNSTILE))
            found[name] = Plugin(name, files, log), stack.enter_context(Turnstile(files))
        yield found


def play(
    hosts: dict[str, tuple[Plugin, Turnstile]], *turns: Turn, kinds: Kind = Kind.COMMITS
) -> dict[str, list[Passage]]:
    """Each commits three lines."""
    done = take_turns(
        {name: turnstile for name, (_, turnstile) in hosts.items()},
        {name: plugin.commits(1, 2, 3) for name, (plugin, _) in hosts.items()},
        turns,
        dict.fromkeys(hosts, kinds),
        LINES,
        timeout=10,
    )
    assert {name: one.result for name, one in done.items()} == {"a": "a", "b": "b"}
    return {name: list(one.passed) for name, one in done.items()}


@pytest.mark.parametrize(
    ("turns", "order"),
    [
        ([], "a1 a2 a3 b1 b2 b3"),
        ([Turn("b")], "b1 b2 b3 a1 a2 a3"),
        ([Turn("a", 1), Turn("b")], "a1 b1 b2 b3 a2 a3"),
        ([Turn("a", 0), Turn("b", 2), Turn("a", 2), Turn("b", 1)], "b1 b2 a1 a2 b3 a3"),
        ([Turn("a", 5), Turn("b")], "a1 a2 a3 b1 b2 b3"),
    ],
)
def test_orders(
    hosts: dict[str, tuple[Plugin, Turnstile]], log: list[str], turns: list[Turn], order: str
) -> None:
    for _ in range(3):
        log.clear()
        passed = play(hosts, *turns)
        assert log == order.split()
        assert passed["a"] == [Passage(Kind.COMMITS, 0, line, 1) for line in (1, 2, 3)]


def test_what_is_not_held_passes(
    hosts: dict[str, tuple[Plugin, Turnstile]], log: list[str]
) -> None:
    assert play(hosts, Turn("b", 0), kinds=Kind.FETCHES) == {"a": [], "b": []}
    assert log == "b1 b2 b3 a1 a2 a3".split()


def test_a_turn_that_does_not_end(hosts: dict[str, tuple[Plugin, Turnstile]]) -> None:
    stop = threading.Event()
    with pytest.raises(LabStateError, match="a: in 0.2 s"):
        try:
            take_turns(
                {"a": hosts["a"][1]}, {"a": lambda: stop.wait(1)}, [], {}, LINES, timeout=0.2
            )
        finally:
            stop.set()


def test_a_command_that_fails(hosts: dict[str, tuple[Plugin, Turnstile]], log: list[str]) -> None:
    """The other host is not left standing."""

    def fail() -> str:
        raise ValueError("no")

    plugin, turnstile = hosts["b"]
    with pytest.raises(ValueError, match="no"):
        take_turns(
            {"a": hosts["a"][1], "b": turnstile},
            {"a": fail, "b": plugin.commits(1, 2)},
            [Turn("b", 1)],
            dict.fromkeys(hosts, Kind.COMMITS),
            LINES,
        )
    assert log == ["b1", "b2"]


def test_a_host_without_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Turnstile(CacheFiles(tmp_path, tmp_path, "a"))
