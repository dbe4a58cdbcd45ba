# SPDX-License-Identifier: Apache-2.0
"""Finds in a log what no test may leave there: a kernel's complaint, a daemon's error line."""

from __future__ import annotations

import re
from collections.abc import Iterable

from famlab_vm import kernel_log

_DAEMON = re.compile(r"\[(error|critical)\]|AddressSanitizer|ThreadSanitizer|runtime error:")


def _without(lines: Iterable[str], expected: Iterable[str]) -> list[str]:
    patterns = [re.compile(pattern) for pattern in expected]
    return [
        line.strip() for line in lines if not any(pattern.search(line) for pattern in patterns)
    ]


def in_kernel_log(text: str, expected: Iterable[str] = ()) -> list[str]:
    """The lines of a dmesg or console text in which a kernel complains, without those that match an
    expected pattern."""
    return _without(kernel_log.complaints(text), expected)


def in_daemon_log(text: str, expected: Iterable[str] = ()) -> list[str]:
    """The error lines of a daemon's log, without those that match an expected pattern."""
    return _without((line for line in text.splitlines() if _DAEMON.search(line)), expected)
