# SPDX-License-Identifier: Apache-2.0
"""What the famfs under test has of the command line, the only place that asks.

Ours has everything and is not asked. With FAMFS_BIN a command or option that is not there is a
skip that names it; what is there must work, or the test fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from support.programs import FOREIGN
from support.skips import missing_feature

EXIT_UNKNOWN_COMMAND = 3

# Runs a command on a host: its exit status, and all that it said.
Ask = Callable[[Sequence[str]], "tuple[int, str]"]

# Help of each command, None if there is none of that name. One famfs is tested in a session.
_help: dict[str, str | None] = {}


def _ask(ask: Ask, command: str) -> str | None:
    """The help of `famfs COMMAND` (or of mkfs.famfs)."""
    if command == "mkfs.famfs":
        return ask([command, "-h"])[1]
    # Without arguments, so that nothing can happen.
    status, said = ask(["famfs", command])
    if status == EXIT_UNKNOWN_COMMAND:
        return None
    return "\n".join([said, ask(["famfs", "-h", command])[1], ask(["famfs", command, "-?"])[1]])


def has(ask: Ask, command: str, option: str = "") -> bool:
    """Whether the famfs under test has a command, and an option of it."""
    if not FOREIGN:
        return True
    if command not in _help:
        _help[command] = _ask(ask, command)
    text = _help[command]
    if text is None or not option:
        return text is not None
    return re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text) is not None


def require(ask: Ask, argv: Sequence[str]) -> None:
    """Skips the test if a famfs command line has what the famfs under test lacks."""
    if not FOREIGN or argv[0] not in ("famfs", "mkfs.famfs") or len(argv) < 2:
        return
    command, words = (argv[1], argv[2:]) if argv[0] == "famfs" else (argv[0], argv[1:])
    if command.startswith("-"):
        return
    name = command if command == "mkfs.famfs" else f"famfs {command}"
    if not has(ask, command):
        missing_feature(name, f"`{name}` ends with status {EXIT_UNKNOWN_COMMAND}")
    for word in words:
        option = word.partition("=")[0]
        if re.fullmatch(r"-[a-zA-Z]|--[a-z-]+", option) and not has(ask, command, option):
            missing_feature(f"{name} {option.lower()}", f"`famfs -h {command}` does not name it")
