# SPDX-License-Identifier: Apache-2.0
"""What runs in the guests once they are up, as data, so that vm/ knows no particular software.

The format of the files is documented in vm/README.md.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from famlab_vm.document import Node, read_document
from famlab_vm.errors import TopologyError

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_KNOWN = re.compile(r"host|hosts|dax\d")
_DEFAULT_TIMEOUT = 60
# The host that runs `first`.
FIRST_HOST = "host0"
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


@dataclass(frozen=True)
class BootScript:
    """What a guest's init is to run at one boot (images/guest/workload.sh), for a workload `name`.

    `lists`: the lists of commands that it has to report as done. `seconds`: what its commands may
    take together, those that it waits for included.
    """

    name: str
    text: str
    lists: tuple[str, ...]
    seconds: int


def boot_script(workload: Workload, host: str, hosts: int, fresh: bool) -> BootScript:
    """Return the script for one boot of one host; `fresh`: of a lab that is just being started."""
    variables = {"host": host, "hosts": str(hosts)}
    first = workload.first if fresh else ()
    lines = []
    lists = []
    if first and host != FIRST_HOST:
        lines.append("wait_for_first")
    elif first:
        lines += _list_of("first", first, variables)
        lists.append("first")
    if workload.every:
        lines += _list_of("every", workload.every, variables)
        lists.append("every")
    seconds = sum(command.timeout for command in (*first, *workload.every))
    return BootScript(workload.name, " &&\n".join(lines), tuple(lists), seconds)


def _list_of(name: str, commands: Sequence[Command], variables: Mapping[str, str]) -> list[str]:
    lines = []
    for command in commands:
        words = " ".join(command.args)
        needed = dict.fromkeys(n for n in _VARIABLE.findall(words) if n not in variables)
        lines += [f"need_dax {name} {n.removeprefix('dax')} {shlex.quote(words)}" for n in needed]
        quoted = " ".join(_quoted(word, variables) for word in command.args)
        lines.append(f"command_of {name} {command.timeout} {quoted}")
    return [*lines, f"done_with {name}"]


def _quoted(word: str, variables: Mapping[str, str]) -> str:
    """Return a word for the shell; the variables of dax devices are filled in by the guest."""
    # Text and names of variables by turns.
    *parts, end = _VARIABLE.split(word)
    quoted = ""
    plain = ""
    for text, name in zip(parts[::2], parts[1::2], strict=True):
        plain += text + variables.get(name, "")
        if name not in variables:
            quoted += (shlex.quote(plain) if plain else "") + f'"${name}"'
            plain = ""
    plain += end
    return quoted + (shlex.quote(plain) if plain or not quoted else "")
