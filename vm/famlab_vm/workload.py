# SPDX-License-Identifier: Apache-2.0
"""What runs in the guests once they are up, as data, so that vm/ knows no particular software.

The format of the files is documented in vm/README.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from famlab_vm.document import Node, read_document
from famlab_vm.errors import TopologyError

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_KNOWN = re.compile(r"host|hosts|dax\d")
_DEFAULT_TIMEOUT = 60
MAXIMUM_COMMANDS = 64


@dataclass(frozen=True)
class Command:
    """A command with `${...}` variables, and the seconds it may take."""

    args: tuple[str, ...]
    timeout: int


@dataclass(frozen=True)
class Workload:
    """`first` runs on host0 of a fresh lab; `every` on each host after each of its boots."""

    name: str
    first: tuple[Command, ...] = ()
    every: tuple[Command, ...] = ()

    @classmethod
    def load(cls, name_or_file: str | Path) -> Workload:
        """Read a workload of vm/workloads by name, or any file by path; `none` does nothing.

        Raises TopologyError with file, key, what was found and what is allowed.
        """
        text = str(name_or_file)
        if text == "none":
            return cls("none")
        path = Path(text)
        if "/" not in text and not text.endswith((".yaml", ".yml")):
            names = workload_names()
            if text not in names:
                raise TopologyError(
                    f"workload: found {text!r}; allowed: {', '.join(names)}, or a file's path"
                )
            path = workload_directory() / f"{text}.yaml"
        return parse_workload(read_document(path), path.stem)


def workload_directory() -> Path:
    """The folder of the workloads that come with famlab."""
    return Path(__file__).resolve().parents[1] / "workloads"


def workload_names() -> list[str]:
    """Names of the workloads that come with famlab, and none."""
    return ["none", *sorted(path.stem for path in workload_directory().glob("*.yaml"))]


def parse_workload(document: Node, name: str) -> Workload:
    """Validate a document that was read from a file. Raises TopologyError."""
    top = document.mapping(("description", "first", "every"), required=("description",))
    top["description"].text()
    first = _commands(top["first"]) if "first" in top else ()
    every = _commands(top["every"]) if "every" in top else ()
    return Workload(name, first, every)


def _commands(node: Node) -> tuple[Command, ...]:
    items = node.sequence()
    if len(items) > MAXIMUM_COMMANDS:
        node.fail(f"at most {MAXIMUM_COMMANDS} commands", found=f"{len(items)} commands")
    return tuple(_command(item) for item in items)


def _command(node: Node) -> Command:
    keys = node.mapping(("run", "timeout"), required=("run",))
    words = keys["run"].sequence()
    if not words:
        keys["run"].fail("a command and its arguments")
    for word in words:
        for variable in _VARIABLE.findall(word.text()):
            if not _KNOWN.fullmatch(variable):
                word.fail("the variables ${host}, ${hosts}, ${dax0} to ${dax9}")
    timeout = keys["timeout"].integer(1, 3600) if "timeout" in keys else _DEFAULT_TIMEOUT
    return Command(tuple(word.text() for word in words), timeout)


def expand(command: Command, variables: Mapping[str, str]) -> list[str]:
    """Return the command's arguments with its variables filled in.

    Raises KeyError with the name of a variable that has no value (a dax device not there).
    """
    return [_VARIABLE.sub(lambda match: variables[match[1]], word) for word in command.args]
