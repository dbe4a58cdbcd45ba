# SPDX-License-Identifier: Apache-2.0
"""Contract of the command line: exit codes by cause, messages that say what to do."""

from __future__ import annotations

import argparse
import fcntl
import inspect
import json
import os
import pwd
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from famlab_vm import commands, errors, lab, memory
from famlab_vm.cli import main
from famlab_vm.lock import LabLock
from lab_support import FAKE_LAB, Fake, a_state


def test_exit_codes_differ_by_cause() -> None:
    """The codes that scripts rely on."""
    assert {
        name: kind.exit_code
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.FamlabError)
    } == {
        "FamlabError": 1, "UsageError": 2, "TopologyError": 2, "BootError": 13, "BootPanic": 10,
        "NoRegion": 11, "AgentSilent": 12, "QemuDied": 13, "BootTimeout": 13,
        "WorkloadFailed": 14, "PrerequisiteMissing": 15, "LabStateError": 16, "AgentError": 125,
        "CommandTimeout": 124, "OutputLimit": 124, "CommandFailed": 1,
    }


@pytest.mark.parametrize("arguments", [["--help"], ["up", "--help"], ["exec", "--help"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Help is given with an example and status 0."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    assert "example" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [[], ["dance"], ["up", "--hosts", "x"], ["up", "--dax", "none"], ["exec"], ["exec", "host0"],
     ["exec", "host0", "--"], ["up", "--timeout", "0"],
     ["exec", "--timeout", "-1", "host0", "--", "x"], ["mce", "host0"], ["mce", "host0", "x"],
     ["mce", "host0", "-1"], ["up", "--cpus", "x"], ["up", "--clock-offset", "host1"],
     ["up", "--clock-offset", "host1=soon"], ["pause"], ["resume"]],
)
def test_wrong_usage(arguments: list[str]) -> None:
    """What the parser refuses is status 2."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--", "git", "log", "--", "file"], ["git", "log", "--", "file"]),
        (["--", "--", "x"], ["--", "x"]),
        (["ls", "/"], ["ls", "/"]),
        (["--", "ls", "-l", "--help"], ["ls", "-l", "--help"]),
    ],
)
def test_exec_passes_its_command_as_it_is(
    monkeypatch: pytest.MonkeyPatch, words: list[str], expected: list[str]
) -> None:
    """Only the first -- is famlab's."""
    seen: list[object] = []

    def execute(args: argparse.Namespace) -> int:
        seen.extend([args.host, args.name, args.args])
        return 0

    monkeypatch.setattr(commands, "execute", execute)
    assert main(["exec", "--name", "mine", "host1", *words]) == 0
    assert seen == ["host1", "mine", expected]


def test_missing_package(
    run_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A Python module that is not installed is status 15 and says what installs it."""
    assert run_directory
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert main(["topologies"]) == 15
    assert "setup/host-packages.sh vm" in capsys.readouterr().err
    assert main(["doctor", "--kernel", "/no/kernel"]) == 15
    output = capsys.readouterr().out
    assert "Python module yaml: not installed (python3-yaml): `setup/host-packages.sh vm`" in output
    assert "cache: " in output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["status", "--name", "mine"], 16, "famlab up"),
        (["exec", "host0", "--", "true"], 16, "not up"),
        (["exec", "hostx", "--", "true"], 2, "host0 to host7"),
        (["up", "--name", "Bad!"], 2, "a-z"),
        (["up", "--hosts", "9", "--kernel", "/no/kernel"], 2, "1 to 8"),
        (["up", "--cpus", "17"], 2, "1 to 16"),
        (["up", "--clock-offset", "host2=1"], 2, "allowed: host0, host1"),
        (["up", "--clock-offset", "host1=-1000000000"], 2, "-315360000 to 315360000"),
        (["up", "--topology", "none"], 2, "one-device"),
        (["up", "--topology", "/no/such.yaml"], 2, "No such file"),
        (["up", "--workload", "none", "--kernel", "/no/kernel"], 15, "make kernel"),
        (["up", "--workload", "none", "--qemu", "no-such-qemu"], 15, "make tree"),
        (["kill", "host0"], 16, "not up"),
        (["mce", "host0", "0x1000"], 16, "not up"),
        (["pause", "host0"], 16, "not up"),
        (["resume", "host0"], 16, "not up"),
        (["gdb", "host9"], 2, "host0 to host7"),
    ],
)
def test_errors(
    arguments: list[str], code: int, words: str, run_directory: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:
    """Each kind of failure has its status and words, and leaves nothing in the run directory."""
    # Files that exist stand for what make builds, so that only the mistake under test remains.
    existing = tmp_path / "file"
    existing.touch(mode=0o755)
    monkeypatch.setenv("KERNEL", str(existing))
    monkeypatch.setenv("QEMU", str(existing))
    assert main(arguments) == code
    assert words in capsys.readouterr().err
    assert not run_directory.exists() or list(run_directory.iterdir()) == []


def test_status(
    run_directory: Path, guest_process: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status tells running, panicked and stopped hosts apart, for people and programs."""
    assert main(["status"]) == 0
    assert "famlab up" in capsys.readouterr().out
    state = a_state("mine")
    state.uri = f"qemu:///embed?root={run_directory / 'mine' / 'v'}"
    state.save()
    running = guest_process(run_directory / "mine" / "host0")
    assert main(["status", "--json"]) == 0
    (lab,) = json.loads(capsys.readouterr().out)
    assert [(host["name"], host["state"]) for host in lab["hosts"]] == [
        ("host0", "running"), ("host1", "stopped"),
    ]
    assert lab["hosts"][0]["pid"] == running.pid
    assert [host["user"] for host in lab["hosts"]] == [pwd.getpwuid(os.geteuid()).pw_name, None]
    files = state.guest("host0").files
    files.directory.mkdir()
    kept = Path(state.uri.partition("=")[2]) / "run" / "qemu" / "famlab-mine-host0.xml"
    kept.parent.mkdir(parents=True)
    for reason, word in (("starting up", "running"), ("user", "paused")):
        kept.write_text(f"<!--\n-->\n<domstatus state='paused' reason='{reason}' pid='1'>\n")
        assert main(["status", "--name", "mine"]) == 0
        assert f"host0: {word} (pid" in capsys.readouterr().out
    files.console_log.write_text("[ 1.0] Kernel panic - not syncing: test\n")
    assert main(["status", "--name", "mine"]) == 0
    assert "host0: panicked" in capsys.readouterr().out
    # A lab that cannot be read does not hide the others.
    a_state("broken").save()
    (run_directory / "broken" / "state.json").write_text("{")
    assert main(["status"]) == 0
    said = capsys.readouterr()
    assert "lab mine: " in said.out
    assert "famlab down --name broken" in said.err
    assert main(["status", "--name", "broken"]) == 16


def test_kill(run_directory: Path, guest_process: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    """kill ends the host's process; a host that does not run is status 16."""
    a_state("mine").save()
    child = guest_process(run_directory / "mine" / "host1")
    assert main(["kill", "host1", "--name", "mine"]) == 0
    assert child.wait(5) != 0
    assert main(["kill", "host1", "--name", "mine"]) == 16
    assert "host1 does not run" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["vmlinux", "../../../vmlinux", None])
def test_gdb_line(
    run_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str | None
) -> None:
    """gdb prints a line that attaches to the host's socket, with a kernel that has symbols."""
    boot = tmp_path / "arch" / "x86" / "boot"
    boot.mkdir(parents=True)
    (boot / "bzImage").write_bytes(b"MZ")
    state = a_state("mine")
    state.artifacts = replace(state.artifacts, kernel=boot / "bzImage")
    state.save()
    expected = "VMLINUX"
    if place is not None:
        (boot / place).write_bytes(b"\x7fELF")
        expected = str((boot / place).resolve())
    assert main(["gdb", "host0", "--name", "mine"]) == 0
    said = capsys.readouterr()
    assert f"target remote {run_directory}/mine/host0/gdb.sock" in said.out
    assert said.out.rstrip().endswith(f" {expected}")
    assert ("bzImage has no symbols" in said.err) == (place is None)


def test_shell_is_refused_where_it_would_hang(
    run_directory: Path, guest_process: Fake, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A host that has panicked, and one whose shell somebody else has."""
    monkeypatch.setattr("os.execvp", lambda *_: pytest.fail("a shell was started"))
    state = a_state("mine")
    state.save()
    files = state.guest("host0").files
    guest_process(files.directory)
    files.directory.mkdir()
    files.console_log.write_text("[ 1.0] ordinary\n")
    with (files.directory / "shell.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert main(["shell", "host0", "--name", "mine"]) == 16
        assert "another `famlab shell`" in capsys.readouterr().err
    files.console_log.write_text("[ 1.0] Kernel panic - not syncing: test\n")
    assert main(["shell", "host0", "--name", "mine"]) == 16
    assert "`famlab log --name mine host0` shows why" in capsys.readouterr().err
    assert run_directory


def test_down_of_a_damaged_lab(run_directory: Path, guest_process: Fake) -> None:
    """down removes a lab whose state cannot be read, its guests included; again is no error."""
    a_state("mine").save()
    (run_directory / "mine" / "state.json").write_text("{")
    child = guest_process(run_directory / "mine" / "host0")
    assert main(["down", "--name", "mine"]) == 0
    assert child.wait(5) != 0
    assert list(run_directory.iterdir()) == []
    assert main(["down", "--name", "mine"]) == 0


def test_down_of_a_lab_whose_directory_is_gone(
    run_directory: Path, guest_process: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its guests and their memory are found all the same."""
    monkeypatch.setattr(memory, "SHARED_MEMORY", tmp_path / "shm")
    (tmp_path / "shm" / f"famlab-{FAKE_LAB}").mkdir(parents=True)
    (tmp_path / "shm" / "famlab-other").mkdir()
    child = guest_process(run_directory / "mine" / "host0")
    assert main(["down", "--name", "mine"]) == 0
    assert "1 guests" in capsys.readouterr().err
    assert child.wait(5) != 0
    assert [path.name for path in (tmp_path / "shm").iterdir()] == ["famlab-other"]


def test_lab_is_removed_while_a_command_waits_for_it(
    run_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command finds no lab, and leaves no directory behind."""
    a_state("mine").save()
    take = lab.take_lock

    def take_after_down(name: str, say: Callable[[str], None]) -> LabLock:
        lab.remove_lab(run_directory / name, None, None)
        return take(name, say)

    monkeypatch.setattr(lab, "take_lock", take_after_down)
    assert main(["restart", "host0", "--name", "mine"]) == 16
    assert "not up" in capsys.readouterr().err
    assert list(run_directory.iterdir()) == []


def test_topologies(capsys: pytest.CaptureFixture[str]) -> None:
    """The list names every topology with its size."""
    assert main(["topologies"]) == 0
    output = capsys.readouterr().out
    for name in ("one-device", "two-bridges", "interleave-2", "switch", "pmem"):
        assert name in output
