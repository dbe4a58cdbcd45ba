# SPDX-License-Identifier: Apache-2.0
"""Showing what a guest wrote: on a terminal its control characters would be obeyed.

They could hide lines, set the title, or make the terminal type something. Files and pipes get every
byte as it was; what a guest is asked for by `exec` and `shell` is passed on, as ssh does.
"""

from __future__ import annotations

import re
import sys
from codecs import getincrementaldecoder
from collections.abc import Iterable
from typing import TextIO

# All but the new line and the tab; with those that eight-bit terminals know (C1), and what Unicode
# uses to reverse the order of text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_LINE_END = re.compile("\r+\n")


def visible(text: str) -> str:
    r"""Return `text` with control characters as \xNN; carriage returns at the end of lines go."""
    return _CONTROL.sub(_escape, _LINE_END.sub("\n", text))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def show(text: str, stream: TextIO | None = None) -> None:
    """Print `text` and a new line to `stream`, by default standard output."""
    stream = stream or sys.stdout
    print(visible(text) if stream.isatty() else text, file=stream, flush=True)


def show_bytes(blocks: Iterable[bytes]) -> None:
    """Write blocks, as they come, to standard output."""
    if not sys.stdout.isatty():
        for block in blocks:
            sys.stdout.buffer.write(block)
            sys.stdout.buffer.flush()
        return
    decoder = getincrementaldecoder("utf-8")("backslashreplace")
    rest = ""
    for block in blocks:
        text = rest + decoder.decode(block)
        # The end of a line may come in two pieces.
        whole = text.rstrip("\r")
        rest = text[len(whole):]
        print(visible(whole), end="", flush=True)
    print(visible(rest), end="", flush=True)
