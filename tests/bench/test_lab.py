# SPDX-License-Identifier: Apache-2.0
"""How long a lab takes, against one bare boot of the same kernel in the same run.

The bare boot is QEMU by itself: no libvirt, no shared memory, until init says its first word. What
the lab adds (libvirt, CXL, the agent, famfs, more hosts) is then a ratio that a slow or busy
machine changes little. Where the time goes is in a table: the medians of `famlab up --trace`.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

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
            line += f"{median(times):8.0f}" if times else f"{'-':>8}"
        lines.append(line)
    return lines


@dataclass
class CommandLab:
    """A lab of the famlab command."""

    name: str
    output: str
    seconds: float  # from the call to famfs mounted on all hosts
    seconds_to_end: float = 0

    def in_guest(self, script: str) -> float:
        """Seconds that a script takes on host0, by its own clock."""
        timed = f"a=$(date +%s%N); {{ {script}\n}} >/dev/null; echo $(($(date +%s%N) - a))"
        words = [str(FAMLAB), "exec", "--name", self.name, "host0", "--", "sh", "-ec", timed]
        output = subprocess.run(
            words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ).stdout
        return int(output) / 1e9


@contextmanager
def lab_of(name: str, *options: str) -> Iterator[CommandLab]:
    """`famlab up`, and down again."""
    started = time.monotonic()
    lab = CommandLab(name, "", 0)
    try:
        words = [str(FAMLAB), "up", "--name", name, *options]
        lab.output = subprocess.run(
            words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ).stdout.decode()
        lab.seconds = time.monotonic() - started
        yield lab
    finally:
        started = time.monotonic()
        words = [str(FAMLAB), "down", "--name", name]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lab.seconds_to_end = time.monotonic() - started


def test_bare_boot(report: Report) -> None:
    """The base of the ratios."""
    report.add(BARE, median(bare_boot() for _ in range(REPEATS)), "s")


@pytest.mark.parametrize("hosts", [2, 4])
def test_up_to_famfs_mounted(report: Report, hosts: int) -> None:
    """`famlab up`: from the call to famfs mounted on all hosts; and down again."""
    ups, ratios, downs, traces = [], [], [], []
    for _ in range(REPEATS):
        bare = bare_boot()
        with lab_of("bench", "--hosts", str(hosts), "--trace") as lab:
            ups.append(lab.seconds)
            ratios.append(lab.seconds / bare)
            traces.append(steps(lab.output))
        downs.append(lab.seconds_to_end)
    aim = "<= 2" if hosts == 2 else ""
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
            report.add("exec of `true`, median", median(times), "ms")
            report.add("exec of `true`, slowest", max(times), "ms")
        finally:
            started = time.monotonic()
            lab.down()
            report.add("down of one host, from Python", time.monotonic() - started, "s")


# What a guest does, how much it is, and what may be lost with caches of its own.
GUEST_WORK = {
    "programs that start": ("for i in $(seq 200); do /bin/true; done", "<= 1.05"),
    "sha256 of 64 MiB": ("head -c 64M /dev/zero | sha256sum", "<= 1.05"),
    "`famfs flush` of 64 MiB": ("famfs flush /mnt/famfs/file", "<= 3"),
}
WATCHED = "noncoherent:strict,blame"
PREPARE = "famfs creat -s 64m /mnt/famfs/file && cat /mnt/famfs/file"


def test_noncoherent_memory(report: Report) -> None:
    """A lab whose hosts have caches of their own, against one whose hosts have not, in turns."""
    figures: dict[tuple[str, str], list[float]] = {}
    for _ in range(REPEATS):
        for memory in ("coherent", "noncoherent", WATCHED):
            with lab_of("bench", "--hosts", "2", "--memory", memory) as lab:
                figures.setdefault(("up", memory), []).append(lab.seconds)
                lab.in_guest(PREPARE)
                for name, (script, _) in GUEST_WORK.items():
                    figures.setdefault((name, memory), []).append(lab.in_guest(script))
    aims = {"up": "<= 1.2"} | {name: aim for name, (_, aim) in GUEST_WORK.items()}
    for name, aim in aims.items():
        base, own, watched = (
            figures[name, memory] for memory in ("coherent", "noncoherent", WATCHED)
        )
        ratio = median(mine / theirs for mine, theirs in zip(own, base))
        what = "famlab up, 2 hosts" if name == "up" else name
        report.add(f"{what}, noncoherent", median(own), "s", "coherent", ratio=ratio, aim=aim)
        ratio = median(mine / theirs for mine, theirs in zip(watched, base))
        report.add(f"{what}, blame", median(watched), "s", "coherent", ratio=ratio)
