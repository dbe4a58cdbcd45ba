# SPDX-License-Identifier: Apache-2.0
"""How long a lab takes, against one bare boot of the same kernel in the same run.

The bare boot is QEMU by itself: no libvirt, no shared memory, until init says its first word. What
the lab adds (libvirt, CXL, the agent, famfs, more hosts) is then a ratio that a slow or busy
machine changes little. Where the time goes is in a table: the medians of `famlab up --trace`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time

import pytest
from bench.conftest import Report
from famlab_vm import Artifacts, Connection, Lab, Topology
from support import paths, plugin

FAMLAB = paths.REPOSITORY / "vm" / "famlab"
BARE = "bare boot to init"
REPEATS = 5
ROUND_TRIPS = 50


def bare_boot() -> float:
    """Seconds from the start of QEMU to the first line of the guest's init."""
    artifacts = Artifacts.find()
    command = [
        str(artifacts.qemu), "-machine", "q35,accel=tcg,smm=off,vmport=off,hpet=off,graphics=off",
        "-cpu", "max", "-m", "1G", "-smp", "1", "-nodefaults", "-no-user-config",
        "-display", "none",
        "-kernel", str(artifacts.kernel), "-append",
        "root=/dev/vda rootfstype=erofs ro init=/usr/lib/famlab/init console=ttyS0 panic=-1 "
        "nokaslr mitigations=off cryptomgr.notests tsc=reliable no_timer_check",
        "-drive", f"file={artifacts.image},if=virtio,format=raw,readonly=on", "-serial", "stdio",
    ]  # fmt: skip
    started = time.monotonic()
    guest = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    lines = []
    try:
        assert guest.stdout is not None
        for line in guest.stdout:
            lines.append(line)
            if b"famlab: init:" in line:
                return time.monotonic() - started
        raise AssertionError("the guest ended:\n" + b"".join(lines[-20:]).decode(errors="replace"))
    finally:
        guest.kill()
        guest.communicate()


def steps(output: str) -> dict[tuple[str, str], int]:
    """What `famlab up --trace` says: the ms for each step and column."""
    head, *rows = [line.split() for line in output.splitlines()]
    return {
        (row[0], column): int(cell)
        for row in rows
        for column, cell in zip(head[1:], row[1:], strict=True)
        if cell != "-"
    }


def medians(traces: list[dict[tuple[str, str], int]]) -> list[str]:
    """The table of steps of several starts of the same lab."""
    columns = sorted({column for _, column in traces[0]}, key=lambda name: (name != "lab", name))
    lines = [f"{'ms':8}" + "".join(f"{column:>8}" for column in columns)]
    for step in dict.fromkeys(step for step, _ in traces[0]):
        line = f"{step:8}"
        for column in columns:
            times = [trace[step, column] for trace in traces if (step, column) in trace]
            line += f"{statistics.median(times):8.0f}" if times else f"{'-':>8}"
        lines.append(line)
    return lines


def test_bare_boot(report: Report) -> None:
    """The base of the ratios."""
    report.add(BARE, statistics.median(bare_boot() for _ in range(REPEATS)), "s")


@pytest.mark.parametrize("hosts", [2, 4])
def test_up_to_famfs_mounted(report: Report, hosts: int) -> None:
    """`famlab up`: from the call to famfs mounted on all hosts; and down again."""
    ups, ratios, downs, traces = [], [], [], []
    for _ in range(REPEATS):
        name = f"bench{hosts}"
        bare = bare_boot()
        started = time.monotonic()
        try:
            words = [str(FAMLAB), "up", "--name", name, "--hosts", str(hosts), "--trace"]
            output = subprocess.run(
                words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
            ).stdout
            ups.append(time.monotonic() - started)
            ratios.append(ups[-1] / bare)
            traces.append(steps(output.decode()))
        finally:
            started = time.monotonic()
            words = [str(FAMLAB), "down", "--name", name]
            subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            downs.append(time.monotonic() - started)
    aim = "<= 2" if hosts == 2 else ""
    median = statistics.median
    report.add(f"famlab up, {hosts} hosts", median(ups), "s", BARE, ratio=median(ratios), aim=aim)
    report.add_table(f"famlab up, {hosts} hosts: steps since the call", medians(traces))
    report.add(f"famlab down, {hosts} hosts", median(downs), "s")


def test_round_trips(report: Report) -> None:
    """A command in a guest, from Python and from the famlab command."""
    root = paths.run_directory() / "l" / f"libvirt-{os.getpid()}"
    plugin.adopt(root)
    with Connection.embedded(root) as connection:
        lab = Lab.create(connection, "bench", Topology.load("one-device"), hosts=1)
        lab.up()
        try:
            host = lab.host("host0")
            times = []
            for _ in range(ROUND_TRIPS):
                started = time.monotonic()
                host.run(["true"], check=True)
                times.append((time.monotonic() - started) * 1000)
            report.add("exec of `true`, median", statistics.median(times), "ms")
            report.add("exec of `true`, slowest", max(times), "ms")
        finally:
            started = time.monotonic()
            lab.down()
            report.add("down of one host, from Python", time.monotonic() - started, "s")
