# SPDX-License-Identifier: Apache-2.0
"""The serial console of a guest: a log file, and what can be read out of it.

The guest's init prints `famlab: STAGE: TEXT` and `famlab: failed: STAGE: REASON`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_STAGE = re.compile(r"^famlab: (?!failed:)([a-z]+): ?(.*)$", re.MULTILINE)
_FAILED = re.compile(r"^famlab: failed: ([a-z]+): ?(.*)$", re.MULTILINE)
# Of a longer log, which a guest can make, the end is looked at.
_LONGEST_TEXT = 64 << 20
# The console log holds all boots of a guest; this line of famlab's own separates them.
_START_MARK = "=== famlab starts the guest ==="


class Console:
    """The console log of one guest. Offsets are bytes from the start of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def offset(self) -> int:
        """Return the size of the log now, to read from there later."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def text(self, offset: int = 0) -> str:
        """Return the log from `offset` on, with carriage returns removed; of a long one the end."""
        try:
            with self.path.open("rb") as stream:
                stream.seek(max(offset, os.fstat(stream.fileno()).st_size - _LONGEST_TEXT))
                return stream.read().decode(errors="replace").replace("\r", "")
        except FileNotFoundError:
            return ""

    def mark_start(self) -> None:
        """Note in the log that the guest starts now; its directory has to exist."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        try:
            os.write(descriptor, f"\n{_START_MARK}\n".encode())
        finally:
            os.close(descriptor)

    def boot_text(self) -> str:
        """Return the log since the guest's last start."""
        return self.text().rpartition(f"\n{_START_MARK}\n")[2]


def stages(text: str) -> list[tuple[str, str]]:
    """Return (stage, text) of each progress line of the guest's init, in order."""
    return [(match[1], match[2]) for match in _STAGE.finditer(text)]


def failures(text: str) -> list[tuple[str, str]]:
    """Return (stage, reason) of each stage that failed; the lines of a reason are joined."""
    found: dict[str, list[str]] = {}
    for match in _FAILED.finditer(text):
        found.setdefault(match[1], []).append(match[2])
    return [(stage, "\n".join(lines)) for stage, lines in found.items()]


def last_lines(text: str, count: int = 15) -> str:
    """Return the last `count` lines that are not blank."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])
