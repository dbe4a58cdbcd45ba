# SPDX-License-Identifier: Apache-2.0
"""Contract: what a guest wrote is shown and not obeyed on a terminal; elsewhere it is unchanged."""

from __future__ import annotations

import io
import os
import pty
import tty
from collections.abc import Callable
from pathlib import Path

import pytest

from famlab_vm import cli, commands
from famlab_vm.errors import LabStateError
from famlab_vm.progress import Progress
from famlab_vm.separate import in_child
from famlab_vm.terminal import show, show_bytes, visible
from lab_support import a_state

EVIL = "a\x1b]0;title\x07\x1b[2J\r\x08\x9bm\x7f\u202e\tb"
SHOWN = "a\\x1b]0;title\\x07\\x1b[2J\\x0d\\x08\\x9bm\\x7f\\u202e\tb"


def on_terminal(work: Callable[[], object]) -> str:
    """Return what `work` writes to a terminal that is its standard output and error."""
    leader, follower = pty.openpty()
    tty.setraw(follower)

    def child() -> None:
        os.dup2(follower, 1)
        os.dup2(follower, 2)
        with open(1, "w", closefd=False) as out, open(2, "w", closefd=False) as err:
            monkeypatch = pytest.MonkeyPatch()
            monkeypatch.setattr("sys.stdout", out)
            monkeypatch.setattr("sys.stderr", err)
            work()

    in_child(child)
    os.close(follower)
    said = b""
    # What was written is there; after it comes the end, which Linux calls an error.
    while True:
        try:
            said += os.read(leader, 65536)
        except OSError:
            break
    os.close(leader)
    return said.decode()


def test_visible() -> None:
    """Control characters are written out; text, new lines and tabs stay."""
    assert visible(EVIL) == SHOWN
    assert visible("Grüße, 世界\n\tx") == "Grüße, 世界\n\tx"
    assert visible("line\r\nline\r\r\nover\rwritten") == "line\nline\nover\\x0dwritten"
    assert visible("\udc80") == "\\udc80"


def test_text() -> None:
    """On a terminal escaped, and in a file as it was."""
    assert on_terminal(lambda: show(EVIL)) == SHOWN + "\n"
    file = io.StringIO()
    show(EVIL, file)
    assert file.getvalue() == EVIL + "\n"


def test_blocks_are_cut_anywhere(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Characters and ends of lines that come in pieces are whole; what is no text is shown too."""
    data = "é\x1b[m\r\n".encode() + b"\xff\r\r\nend\r"
    blocks = [data[index:index + 1] for index in range(len(data))]
    assert on_terminal(lambda: show_bytes(blocks)) == "é\\x1b[m\n\\xff\nend\\x0d"
    show_bytes(blocks)
    assert capfdbinary.readouterr().out == data


def test_progress_and_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a guest said at boot, and what an error quotes of it."""
    assert SHOWN in on_terminal(lambda: Progress().say(f"host0: {EVIL}"))

    def fail(*_: object) -> int:
        raise LabStateError(EVIL)

    monkeypatch.setattr(commands, "topologies", fail)
    assert on_terminal(lambda: cli.main(["topologies"])) == f"famlab: {SHOWN}\n"


def test_log(run_directory: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """`log` shows the console, and gives all of it to a pipe."""
    assert run_directory
    state = a_state("mine")
    state.save()
    console = state.guest("host0").files.console_log
    console.parent.mkdir()
    console.write_bytes(EVIL.encode() + b"\r\n")
    words = ["log", "--name", "mine", "host0"]
    assert on_terminal(lambda: cli.main(words)) == SHOWN + "\n"
    cli.main(words)
    assert capfdbinary.readouterr().out == EVIL.encode() + b"\r\n"
