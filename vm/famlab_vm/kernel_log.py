# SPDX-License-Identifier: Apache-2.0
"""What a kernel reports of itself, on its console or in dmesg: the one place that knows."""

from __future__ import annotations

import re
from dataclasses import dataclass

# A line by which the kernel says that it has found something wrong with itself, not with its user.
_COMPLAINT = re.compile(
    r"""
      \bWARNING:\ | \bBUG:\ | \bkernel\ BUG\ at\ | \bOops(:|\ ) | \bCall\ Trace:
    | \bKernel\ panic | \bgeneral\ protection\ fault | \bUnable\ to\ handle\ kernel
    | \bInternal\ error:\  | \binvalid\ opcode:\  | \bKASAN:\ | \bKCSAN:\ | \bUBSAN:\ | \bKFENCE:
    | \bINFO:\ task\ .*\ blocked\ for\ more | \bINFO:\ rcu_ | \brcu:\ INFO:
    | \bpossible\ (circular|recursive)\ locking | \bsuspicious\ RCU\ usage
    | \binconsistent\ lock\ state | \bsoft\ lockup | \bhard\ LOCKUP | \bunreferenced\ object
    | \bMemory\ failure:
    """,
    re.VERBOSE,
)
_PREFIX = re.compile(r"^\[[ \d.]+\](?:\[[ T\d]+\])? ")
_PANIC = re.compile(r"Kernel panic - not syncing")
_OOPS = re.compile(
    r"^(BUG: |Oops: |kernel BUG at |general protection fault|Unable to handle kernel"
    r"|INFO: (task .* blocked|rcu_\w+ (self-)?detected)|Internal error: |invalid opcode: )"
)
_WARNING = re.compile(r"^WARNING: ")
_END = re.compile(r"^---\[ end (trace|Kernel panic)")
# A report without an end mark (lockdep, rcu) is cut here.
_LONGEST_REPORT = 120


def complaints(text: str) -> list[str]:
    """Return the lines in which a kernel complains, without white space around them."""
    return [line.strip() for line in text.splitlines() if _COMPLAINT.search(line)]


@dataclass(frozen=True)
class KernelReport:
    """A report of the kernel: `kind` is panic, oops or warning; `text` its lines."""

    kind: str
    text: str


def is_log_line(line: str) -> bool:
    """Return whether a line of a console is one of the kernel's log."""
    return _PREFIX.match(line) is not None


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
