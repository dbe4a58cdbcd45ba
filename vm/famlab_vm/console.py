# SPDX-License-Identifier: Apache-2.0
"""The serial console of a guest: a log file, and what can be read out of it.

The guest's init prints `famlab: STAGE: TEXT` and `famlab: failed: STAGE: REASON`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_STAGE = re.compile(r"^famlab: (?!failed:)([a-z]+): ?(.*)$", re.MULTILINE)
_FAILED = re.compile(r"^famlab: failed: ([a-z]+): ?(.*)$", re.MULTILINE)
_PREFIX = re.compile(r"^\[[ \d.]+\](?:\[[ T\d]+\])? ")
_PANIC = re.compile(r"Kernel panic - not syncing")
_OOPS = re.compile(
    r"^(BUG: |Oops: |kernel BUG at |general protection fault|Unable to handle kernel"
    r"|INFO: (task .* blocked|rcu_\w+ (self-)?detected)|Internal error: |invalid opcode: )"
)
_WARNING = re.compile(r"^WARNING: ")
_END = re.compile(r"^---\[ end (trace|Kernel panic)")
# The console log holds all boots of a guest; this line of famlab's own separates them.
_START_MARK = "=== famlab starts the guest ==="
# A report without an end mark (lockdep, rcu) is cut here.
_LONGEST_REPORT = 120


@dataclass(frozen=True)
class KernelReport:
    """A report of the kernel: `kind` is panic, oops or warning; `text` its lines."""

    kind: str
    text: str


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
        """Return the log from `offset` on, with carriage returns removed."""
        try:
            with self.path.open("rb") as stream:
                stream.seek(offset)
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


def is_panic(text: str) -> bool:
    """Return whether `text` holds the announcement of a kernel panic."""
    return _PANIC.search(text) is not None


def panic_text(text: str) -> str:
    """Return the reports that explain a kernel panic in `text`, or an empty string."""
    if not is_panic(text):
        return ""
    return "\n".join(
        report.text for report in kernel_reports(text) if report.kind in ("oops", "panic")
    )


def kernel_reports(text: str) -> list[KernelReport]:
    """Return the warnings, oopses and panics that the kernel printed, in order."""
    reports = []
    lines = text.splitlines()
    position = 0
    while position < len(lines):
        kind = _kind(lines[position])
        end = position + 1
        if kind is not None:
            end = _report_end(lines, position)
            reports.append(KernelReport(kind, "\n".join(lines[position:end])))
        position = end
    return reports


def _kind(line: str) -> str | None:
    words = _PREFIX.sub("", line)
    if _PANIC.search(words):
        return "panic"
    if _OOPS.match(words):
        return "oops"
    return "warning" if _WARNING.match(words) else None


def _report_end(lines: list[str], start: int) -> int:
    """Return the index after the last line of the report that begins at `start`."""
    starts_with_panic = _kind(lines[start]) == "panic"
    limit = min(len(lines), start + _LONGEST_REPORT)
    for index in range(start + 1, limit):
        if lines[index].startswith("famlab: "):
            return index
        # A panic that follows an oops is a report of its own.
        if not starts_with_panic and _kind(lines[index]) == "panic":
            return index
        if _END.match(_PREFIX.sub("", lines[index])):
            return index + 1
    return limit
