# SPDX-License-Identifier: Apache-2.0
"""What several hosts do at once, in which order of what they exchange, and what must hold then;
kept in a file that `famlab replay` runs again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from famlab_vm.errors import UsageError
from famlab_vm.turns import Kind, Turn, Turnstile, take_turns


class Outcome(Protocol):
    """How a command ended."""

    @property
    def returncode(self) -> int:
        """Its exit status."""

    @property
    def stdout(self) -> bytes:
        """What it wrote."""


# Runs a command on a host to its end, whatever its status.
Run = Callable[[str, Sequence[str]], Outcome]


@dataclass(frozen=True)
class Command:
    """What runs on a host. It may end with these statuses, any if there are none, and write this to
    standard output; None: anything.
    """

    host: str
    argv: Sequence[str]
    statuses: Sequence[int] = (0,)
    stdout: str | None = None

    def complaint(self, outcome: Outcome) -> str:
        """What is wrong with how it ended; empty if nothing."""
        said = outcome.stdout.decode(errors="replace")
        what = f"{self.host}: {' '.join(self.argv)}"
        if self.statuses and outcome.returncode not in self.statuses:
            allowed = " or ".join(map(str, self.statuses))
            return f"{what}: status {outcome.returncode}, allowed: {allowed}; it said {said!r}"
        if self.stdout is not None and said != self.stdout:
            return f"{what}: it said {said!r}, not {self.stdout!r}"
        return ""


@dataclass(frozen=True)
class Place:
    """The lab that a schedule is of, in the words of `famlab up`."""

    hosts: int
    topology: str
    dax: str
    memory: str


@dataclass(frozen=True)
class Schedule:
    """`together` is what the hosts do in these turns, one command each; `prepare` comes before and
    `afterwards` after it, one command after the other. `held`: which passages of a host count and
    wait, of lines below `lines` (turns.py).
    """

    place: Place
    prepare: Sequence[Command]
    together: Sequence[Command]
    turns: Sequence[Turn]
    held: Mapping[str, int]
    lines: int
    afterwards: Sequence[Command] = field(default_factory=tuple)

    def play(self, run: Run, turnstiles: Mapping[str, Turnstile]) -> Played:
        """Runs all but `prepare`. Raises LabStateError, and what `run` raises."""
        commands = {
            command.host: lambda command=command: run(command.host, command.argv)
            for command in self.together
        }
        held = {host: Kind(kinds) for host, kinds in self.held.items()}
        done = take_turns(turnstiles, commands, self.turns, held, self.lines)
        outcomes = [(command, done[command.host].result) for command in self.together]
        outcomes += [(command, run(command.host, command.argv)) for command in self.afterwards]
        complaints = [command.complaint(outcome) for command, outcome in outcomes]
        passed = {host: len(one.passed) for host, one in done.items()}
        return Played([complaint for complaint in complaints if complaint], passed)

    def make_ready(self, run: Run) -> None:
        """Runs `prepare`. Raises UsageError for a command that does not end as it should."""
        for command in self.prepare:
            if complaint := command.complaint(run(command.host, command.argv)):
                raise UsageError(f"the schedule cannot be prepared: {complaint}")

    def save(self, path: Path) -> None:
        """Write it for load()."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Schedule:
        """Read what save() wrote. Raises UsageError with what is wrong, OSError."""
        try:
            content = json.loads(path.read_text())
            for name in ("prepare", "together", "afterwards"):
                content[name] = tuple(_command(one) for one in content[name])
            content["place"] = Place(**content["place"])
            content["turns"] = tuple(Turn(**one) for one in content["turns"])
            found = cls(**content)
            _check(found)
        except KeyError as error:
            raise UsageError(f"{path}: no schedule: {error} is missing") from None
        except (AttributeError, TypeError, ValueError) as error:
            raise UsageError(f"{path}: no schedule: {error}") from None
        return found


@dataclass(frozen=True)
class Played:
    """What was wrong, and how many passages of each host counted."""

    complaints: list[str]
    passed: Mapping[str, int]


def _command(content: dict[str, Any]) -> Command:
    words = {name: tuple(content[name]) for name in ("argv", "statuses")}
    return Command(**{**content, **words})


def _check(found: Schedule) -> None:
    """Raises ValueError or TypeError."""
    hosts = {f"host{number}" for number in range(int(found.place.hosts))}
    at_once = [command.host for command in found.together]
    if len(set(at_once)) != len(at_once):
        raise ValueError("a host has two commands at once")
    used = [command.host for command in (*found.prepare, *found.together, *found.afterwards)]
    if unknown := sorted({*used, *found.held} - hosts):
        raise ValueError(f"there is no {unknown[0]}; there are {', '.join(sorted(hosts))}")
    for turn in found.turns:
        if turn.host not in at_once:
            raise ValueError(f"a turn of {turn.host}, which does nothing")
        if turn.passages is not None and not 0 <= int(turn.passages):
            raise ValueError(f"a turn of {turn.passages} passages")
    for command in (*found.prepare, *found.together, *found.afterwards):
        if not command.argv or not all(isinstance(word, str) for word in command.argv):
            raise ValueError(f"a command of {command.host} is none: {command.argv!r}")
    if not 0 <= int(found.lines) < 1 << 58:
        raise ValueError(f"lines below {found.lines}")
    for host, kinds in found.held.items():
        if not 0 <= int(kinds) <= Kind.COMMITS | Kind.FETCHES:
            raise ValueError(f"{host}: held kinds {kinds}; allowed: 0 to 3")
