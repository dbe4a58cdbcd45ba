# SPDX-License-Identifier: Apache-2.0
"""Contract: stages, failures and kernel reports are found in a console log, and only those."""

from __future__ import annotations

from pathlib import Path

from famlab_vm.console import Console, failures, stages
from famlab_vm.follow import Follower
from famlab_vm.kernel_log import complaints, is_panic, kernel_reports, panic_text

BOOT = """\
[    1.467111] Run /usr/lib/famlab/init as init process
famlab: init: pid 1
famlab: region: region0 in decoder0.0
famlab: ready: yes
"""
FAILED = """\
famlab: init: pid 1
famlab: failed: region: cxl create-region: failed
famlab: failed: region: error 6
famlab: agent: there
"""
OOPS_AND_PANIC = """\
[    2.000000] something ordinary
[    2.100000] BUG: kernel NULL pointer dereference, address: 0000000000000000
[    2.100001] Call Trace:
[    2.100002] ---[ end trace 0000000000000000 ]---
[    2.200000] Kernel panic - not syncing: Fatal exception
[    2.200001] ---[ end Kernel panic - not syncing: Fatal exception ]---
"""
WARNING = """\
[    3.000000][  T12] WARNING: CPU: 0 PID: 1 at mm/x.c:1 f+0x1/0x2
[    3.000001][  T12] Call Trace:
[    3.000002][  T12] ---[ end trace 0000000000000000 ]---
[    3.100000] ordinary again
"""


def test_stages() -> None:
    """Progress lines become (stage, text) in order."""
    assert [stage for stage, _ in stages(BOOT)] == ["init", "region", "ready"]
    assert stages(BOOT)[1] == ("region", "region0 in decoder0.0")


def test_failure_lines_are_joined() -> None:
    """A reason of several lines is one failure, and no stage."""
    assert failures(FAILED) == [("region", "cxl create-region: failed\nerror 6")]
    assert [stage for stage, _ in stages(FAILED)] == ["init", "agent"]
    assert failures(BOOT) == []


def test_reports() -> None:
    """An oops and the panic after it are two reports, a warning is one, the rest is none."""
    kinds = [report.kind for report in kernel_reports(OOPS_AND_PANIC + WARNING)]
    assert kinds == ["oops", "panic", "warning"]
    assert "ordinary" not in "".join(report.text for report in kernel_reports(WARNING))
    assert kernel_reports(BOOT) == []


def test_complaints_are_lines() -> None:
    """The lines that name what is wrong, wherever in the line; ordinary ones are none."""
    assert len(complaints(OOPS_AND_PANIC)) == 4
    assert len(complaints(WARNING)) == 2
    assert complaints(BOOT) == []


def test_report_without_end_is_bounded() -> None:
    """A report whose end never comes does not swallow the log."""
    text = "WARNING: CPU: 0\n" + "x\n" * 1000
    assert len(kernel_reports(text)[0].text.splitlines()) == 120


def test_panic_text_holds_the_oops() -> None:
    """The explanation of a panic includes the oops that led to it."""
    assert "NULL pointer" in panic_text(OOPS_AND_PANIC)
    assert panic_text(WARNING) == ""
    assert is_panic(OOPS_AND_PANIC)
    assert not is_panic(BOOT)


def test_boots_are_told_apart(tmp_path: Path) -> None:
    """boot_text() is what came after the last start, offsets count over all boots."""
    console = Console(tmp_path / "console.log")
    assert (console.offset(), console.text()) == (0, "")
    console.mark_start()
    with console.path.open("a") as stream:
        stream.write("first boot\r\n")
    offset = console.offset()
    with console.path.open("ab") as stream:
        stream.write(b"no text: \xff\n")
    console.mark_start()
    with console.path.open("a") as stream:
        stream.write("second boot\n")
    assert "first" not in console.boot_text()
    assert "second" in console.boot_text()
    assert "first" in console.text()
    assert "first" not in console.text(offset)


def test_following_ends_with_the_file(tmp_path: Path) -> None:
    """All that was written is given, as it comes, and the end comes when the file is removed."""
    path = tmp_path / "console.log"
    path.write_bytes(b"first")
    with Follower(path) as follower:
        chunks = follower.chunks()
        assert next(chunks) == b"first"
        with path.open("ab") as stream:
            stream.write(b"second")
        assert next(chunks) == b"second"
        with path.open("ab") as stream:
            stream.write(b"last")
            path.unlink()
        assert list(chunks) == [b"last"]


def test_following_stops_while_the_file_grows(tmp_path: Path) -> None:
    """A guest that writes without pause does not keep its reader."""
    path = tmp_path / "console.log"
    path.touch()
    with Follower(path) as follower, path.open("ab", buffering=0) as stream:
        follower.stop()
        stream.write(b"first\n")
        for number, _ in enumerate(follower.chunks()):
            stream.write(b"and more\n")
            assert number < 5


def test_line_without_end(tmp_path: Path) -> None:
    """It is given in pieces, and not kept until it ends."""
    path = tmp_path / "console.log"
    path.write_bytes(b"x" * 5_000_000 + b"\nshort\nno end")
    with Follower(path) as follower:
        follower.stop()
        lines = list(follower.lines())
    assert max(map(len, lines)) < 2_000_000
    assert "".join(lines) == "x" * 5_000_000 + "short"
