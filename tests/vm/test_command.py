# SPDX-License-Identifier: Apache-2.0
"""Contract: the famlab command starts, uses and removes labs, several side by side, and its exit
code tells the ways of failing apart.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest
from support import paths, plugin
from support.evidence import court
from vm.labs import run_directory

FAMLAB = paths.REPOSITORY / "vm" / "famlab"


def famlab(
    *words: str, timeout: float = 120, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [str(FAMLAB), *words],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    text = (done.stdout + done.stderr).decode(errors="replace")
    court.record("famlab", list(words), str(done.returncode), text)
    return done


def succeed(*words: str) -> str:
    done = famlab(*words)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode()


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[str, str]]:
    """Two labs that run side by side, with famfs mounted in each."""
    names = ("left", "right")
    for name in names:
        plugin.adopt(run_directory() / name)
    try:
        starts = [
            subprocess.Popen(
                [str(FAMLAB), "up", "--name", name, "--hosts", "2"], stdin=subprocess.DEVNULL
            )
            for name in names
        ]
        assert [start.wait(120) for start in starts] == [0, 0]
        yield names
    finally:
        for name in names:
            famlab("down", "--name", name)
            plugin.disown(run_directory() / name)


def test_two_labs_side_by_side_are_separate(pair: tuple[str, str]) -> None:
    """Each lab has its own memory: a file made in one is on all its hosts and in no other lab."""
    left, right = pair
    succeed("exec", "--name", left, "host0", "--", "famfs", "creat", "-s", "4096", "/mnt/famfs/l")
    succeed("exec", "--name", right, "host0", "--", "famfs", "creat", "-s", "4096", "/mnt/famfs/r")
    for name, file in ((left, "l"), (right, "r")):
        listed = succeed("exec", "--name", name, "host1", "--", "ls", "/mnt/famfs")
        assert listed.split() == [file]


def test_status_shows_the_labs(pair: tuple[str, str]) -> None:
    """`status --json` lists both labs and their hosts."""
    labs = json.loads(succeed("status", "--json"))
    assert {lab["name"] for lab in labs} >= set(pair)


def test_push_and_pull(pair: tuple[str, str]) -> None:
    """A file pushed into a guest and pulled out of it again is the same."""
    sent, received = paths.run_directory() / "sent", paths.run_directory() / "received"
    sent.write_bytes(os.urandom(300_000))
    try:
        succeed("push", "--name", pair[0], "host0", str(sent), "/root/file")
        succeed("pull", "--name", pair[0], "host0", "/root/file", str(received))
        assert sent.read_bytes() == received.read_bytes()
    finally:
        sent.unlink()
        received.unlink(missing_ok=True)


def test_exec_has_the_exit_code_of_the_command(pair: tuple[str, str]) -> None:
    """exec passes the guest command's exit code, and says when it could not run."""
    assert famlab("exec", "--name", pair[0], "host1", "--", "sh", "-c", "exit 42").returncode == 42
    assert famlab("exec", "--name", pair[0], "host1", "--", "no-such-command").returncode >= 125
    assert famlab("exec", "--name", pair[0], "host7", "--", "true").returncode == 16


def test_log_and_xml(pair: tuple[str, str]) -> None:
    """log shows the boot up to ready; xml is what libvirt was given."""
    assert "famlab: ready" in succeed("log", "--name", pair[0], "host0")
    assert "<domain" in succeed("xml", "--name", pair[0], "host0")


def test_kill_and_restart_mounts_again(pair: tuple[str, str]) -> None:
    """A killed host that is restarted has famfs mounted again; the neighbour had no harm."""
    left = pair[0]
    succeed(
        "exec", "--name", left, "host0", "--", "famfs", "creat", "-s", "4096", "/mnt/famfs/kept"
    )
    succeed("kill", "--name", left, "host1")
    assert famlab("exec", "--name", left, "host1", "--", "true").returncode != 0
    succeed("restart", "--name", left, "host1")
    assert "kept" in succeed("exec", "--name", left, "host1", "--", "ls", "/mnt/famfs")


def test_panic_names_the_panic(pair: tuple[str, str]) -> None:
    """`famlab panic` panics the kernel: status and log name it, and exec refuses the host."""
    right = pair[1]
    succeed("panic", "--name", right, "host1")
    assert "Kernel panic - not syncing" in succeed("log", "--name", right, "host1")
    assert "panic" in succeed("status", "--name", right).lower()
    refused = famlab("exec", "--name", right, "host1", "--", "true")
    assert refused.returncode != 0 and b"panic" in refused.stderr
    succeed("restart", "--name", right, "host1")
    succeed("exec", "--name", right, "host1", "--", "true")


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a lab that the test itself must not leave."""
    yield "failing"
    assert not (run_directory() / "failing").exists()


# Exit code, a word of the message, and how it is provoked.
FAILING = {
    "usage": (2, "hosts", ["--hosts", "0"]),
    "topology": (2, "no-such-topology", ["--topology", "no-such-topology"]),
    "panic": (
        10,
        "Kernel panic - not syncing",
        ["--hosts", "1", "--kernel-arguments", "init=/nonexistent"],
    ),
    "no region": (
        11,
        "region",
        ["--hosts", "1", "--kernel-arguments", "initcall_blacklist=cxl_acpi_init"],
    ),
    "silent": (
        12,
        "agent",
        [
            "--hosts",
            "1",
            "--timeout",
            "15",
            "--kernel-arguments",
            "initcall_blacklist=virtio_console_init",
        ],
    ),
    "qemu dies": (13, "QEMU", ["--hosts", "1", "--qemu", "/bin/false"]),
    "no kernel": (15, "/nonexistent", ["--kernel", "/nonexistent"]),
}


@pytest.mark.parametrize("cause", FAILING)
def test_exit_code_tells_why_up_failed(name: str, cause: str) -> None:
    """Each way of failing has its exit code and a message, and leaves no lab."""
    code, message, words = FAILING[cause]
    failed = famlab("up", "--name", name, *words)
    assert failed.returncode == code, failed.stderr.decode()
    assert message in failed.stderr.decode()


def test_failing_workload_is_told_apart(name: str) -> None:
    """A workload command that fails: exit code 14, with the command's own words."""
    workload = paths.run_directory() / "bad.yaml"
    workload.write_text(
        "description: fails\nevery:\n  - {run: [sh, -c, 'echo no luck >&2; exit 3']}\n"
    )
    try:
        failed = famlab("up", "--name", name, "--hosts", "1", "--workload", str(workload))
    finally:
        workload.unlink()
    assert failed.returncode == 14
    assert b"no luck" in failed.stderr


def test_interrupted_up_leaves_nothing(name: str) -> None:
    """Ctrl-C while the guests boot: exit code 130, and the leak check finds nothing."""
    up = subprocess.Popen(
        [str(FAMLAB), "up", "--name", name],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert up.stderr is not None
    for line in up.stderr:
        if b"host0: " in line and b"starting" not in line:  # a stage of its boot
            up.send_signal(signal.SIGINT)
            break
    up.stderr.read()
    assert up.wait(60) == 130
