# SPDX-License-Identifier: Apache-2.0
"""Contract: the famlab command starts, uses and removes labs, several side by side.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from support import paths
from vm.command import famlab, labs_by_command, succeed

pytestmark = pytest.mark.of_the_lab


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[str, str]]:
    """Two labs that run side by side, with famfs mounted in each."""
    names = ("left", "right")
    with labs_by_command(*names, hosts=2):
        yield names


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


@pytest.mark.expects_kernel_trouble("Memory failure:", host="left.host0")
def test_mce_is_a_memory_error_to_one_kernel(pair: tuple[str, str]) -> None:
    """`famlab mce` tells the kernel of one host that a page failed; its neighbour hears nothing."""
    left = pair[0]
    cat = ("cat", "/sys/bus/dax/devices/dax0.0/resource")
    address = int(succeed("exec", "--name", left, "host0", "--", *cat), 16) + (3 << 30)
    succeed("mce", "--name", left, "host0", hex(address))
    wait = f"until dmesg | grep 'Memory failure: {address >> 12:#x}'; do sleep 0.1; done"
    assert "recovery action" in succeed("exec", "--name", left, "host0", "--", "sh", "-c", wait)
    assert "Memory failure" not in succeed("exec", "--name", left, "host1", "--", "dmesg")


@pytest.mark.expects_kernel_trouble("Kernel panic|Call Trace", host="right.host1")
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
