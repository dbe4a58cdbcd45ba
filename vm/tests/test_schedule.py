# SPDX-License-Identifier: Apache-2.0
"""Contract: a schedule is played as its file says, and a file that is none is refused with why."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from famlab_vm.errors import UsageError
from famlab_vm.schedule import Command, Place, Schedule
from famlab_vm.turns import Turn

PLACE = Place(2, "one-device", "device_dax", "noncoherent:strict,turnstile")
GOOD = Schedule(
    PLACE,
    prepare=(Command("host0", ("mkfs",)),),
    together=(Command("host0", ("make", "x")), Command("host1", ("look", "x"), (0, 1))),
    turns=(Turn("host0", 3), Turn("host1")),
    held={"host0": 1, "host1": 2},
    lines=100,
    afterwards=(Command("host1", ("look", "x"), stdout="x\n"),),
)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    returncode: int = 0
    stdout: bytes = b""


def test_a_file_says_all(tmp_path: Path) -> None:
    GOOD.save(tmp_path / "schedule")
    assert Schedule.load(tmp_path / "schedule") == GOOD


def _without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.pop(name)


def _with(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.update({name: value})


def _command(*argv: object) -> dict[str, object]:
    return {"host": "host0", "argv": argv, "statuses": []}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without("place"), "'place' is missing"),
        (_without("turns"), "'turns' is missing"),
        (_without("lines"), "lines"),
        (_with("other", 1), "other"),
        (_with("place", {"hosts": 2}), "topology"),
        (_with("turns", [{"host": "host7"}]), "a turn of host7, which does nothing"),
        (_with("turns", [{"host": "host0", "passages": -1}]), "a turn of -1 passages"),
        (_with("held", {"host2": 1}), "there is no host2; there are host0, host1"),
        (_with("held", {"host0": 9}), "held kinds 9"),
        (_with("lines", -1), "lines below -1"),
        (_with("together", [_command("a")] * 2), "two commands"),
        (_with("prepare", [_command()]), "is none"),
        (_with("prepare", [_command(1)]), "is none"),
        (_with("prepare", 3), "iterable"),
    ],
)
def test_what_is_none(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    file = tmp_path / "schedule"
    GOOD.save(file)
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=words) as error:
        Schedule.load(file)
    assert str(error.value).startswith(f"{file}: no schedule: ")


@pytest.mark.parametrize("text", ["", "[]", "3", "no JSON", "{}"])
def test_what_is_no_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "schedule").write_text(text)
    with pytest.raises(UsageError, match="no schedule"):
        Schedule.load(tmp_path / "schedule")


@pytest.mark.parametrize(
    ("outcome", "complaint"),
    [
        (Ended(0, b"x\n"), ""),
        (Ended(1, b"x\n"), "host1: look x: status 1, allowed: 0; it said 'x\\n'"),
        (Ended(0, b"y\n"), "host1: look x: it said 'y\\n', not 'x\\n'"),
    ],
)
def test_complaints(outcome: Ended, complaint: str) -> None:
    assert GOOD.afterwards[0].complaint(outcome) == complaint
    assert not Command("host0", ("x",), statuses=()).complaint(Ended(99))


def test_making_ready() -> None:
    seen: list[tuple[str, Sequence[str]]] = []

    def run(host: str, argv: Sequence[str]) -> Ended:
        seen.append((host, argv))
        return Ended(len(seen) - 1)

    GOOD.make_ready(run)
    assert seen == [("host0", ("mkfs",))]
    with pytest.raises(UsageError, match="cannot be prepared: host0: mkfs: status 1"):
        GOOD.make_ready(run)
