# SPDX-License-Identifier: Apache-2.0
"""What famfs's own programs cost, without virtual machines: each beside a peer that does the least
that such work can cost, in turns with it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import statistics
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench import daemon_rig as rig
from bench.conftest import Report
from bench.turns import ROUNDS, measure, tell
from famfs_verbs import MEBI
from host.cluster import Cluster
from support import media, paths, plugin

pytestmark = pytest.mark.timeout(1200)

# Bytes of the log, and the entries that fit.
LOGS = [(8 * MEBI, 15_420), (256 * MEBI, 493_447)]
CREATED = 10_000
LISTED = 100_000
# Few, as the peer searches a list of all files that the kernel knows.
STORMED = 100
BLOCKS = 64
LAGS = 300


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A tmpfs: the shared memory, and what the peers work on."""
    rig.compile_programs()
    made = paths.run_directory() / "daemon"
    made.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8g", "bench", made], check=True)
    plugin.adopt(made)
    try:
        yield made
    finally:
        subprocess.run(["umount", made], check=True)
        plugin.disown(made)
        made.rmdir()


@pytest.fixture(autouse=True)
def noise(report: Report) -> None:
    report.note(f"medians of {ROUNDS} rounds in turns, +- half of highest minus lowest, ratios of "
                "neighbours in time")  # fmt: skip


@pytest.mark.parametrize(("length", "entries"), LOGS)
def test_replay(directory: Path, report: Report, length: int, entries: int) -> None:
    """A client mounts a full log; what it takes to mount an empty one of the same size does not
    count. And what the daemon then takes of memory. Processor time, as this is work of one thread
    and other work of the machine is not to count."""
    with (
        rig.cluster(directory, "full") as full,
        rig.cluster(directory, "empty") as empty,
    ):
        for hosts in (full, empty):
            hosts.master.mkfs("--loglen", str(length), "--alloc-unit", "4k")
        rig.fill(full, entries)
        log = rig.log_bytes(full)
        assert length - media.ENTRY_SIZE < len(log) <= length

        def processor_time(hosts: Cluster) -> float:
            """Of the thread that mounts: it replays the log before it serves."""
            hosts.client.mount()
            daemon = hosts.machine(hosts.client).daemon_pid()
            ran = int(Path(f"/proc/{daemon}/task/{daemon}/schedstat").read_text().split()[0])
            hosts.client.umount()
            return ran / 1e6

        def crc() -> float:
            started = time.thread_time()
            zlib.crc32(log)
            return (time.thread_time() - started) * 1000

        def replay() -> float:
            return processor_time(full) - processor_time(empty)

        name = f"replay of {entries} entries"
        samples = measure({f"zlib crc32 of {length // MEBI} MiB": crc, name: replay})
        tell(report, "processor time", samples, "ms", "<= 3")
        full.client.mount()
        assert full.client.exists(rig.FILE_NAME.format(entries - 1))
        resident(report, full, entries, len(log))


def resident(report: Report, hosts: Cluster, entries: int, log: int) -> None:
    """Pages of the daemon's own; those of the log that it has mapped are the shared memory's."""
    pid = hosts.machine(hosts.client).daemon_pid()
    status = Path(f"/proc/{pid}/status").read_text()
    sizes = dict(re.findall(r"^Rss(\w+):\s+(\d+) kB$", status, re.M))
    name = f"bytes of the log, {entries} entries"
    report.add(name, log / MEBI, "MiB")
    own = int(sizes["Anon"]) / 1024
    report.add(f"resident memory at {entries} files", own, "MiB", name, aim="<= 1")
    mapped = (int(sizes["File"]) + int(sizes["Shmem"])) / 1024
    report.add(f"pages of the mapped log and of programs at {entries} files", mapped, "MiB")


@pytest.mark.parametrize("used", [0, 15_400])
def test_append(directory: Path, report: Report, used: int) -> None:
    """Cache lines that a create writes back, by the daemon's own count: the most of several, as an
    entry begins at any eighth word of a line."""
    with rig.cluster(directory) as hosts:
        hosts.master.mkfs("--alloc-unit", "4k")
        rig.fill(hosts, used)
        hosts.master.mount()

        def lines_of(name: str) -> int:
            before = lines_written(hosts)
            hosts.master.creat(name, 4096)
            return lines_written(hosts) - before

        most = max(lines_of(f"f{number}") for number in range(16))
        name = f"lines written back by an append after {used} entries"
        report.add(name, most, "", aim="<= 12")


def lines_written(hosts: Cluster) -> int:
    status = json.loads(hosts.machine(hosts.master).control("/status"))
    return int(status["memory"]["lines_written_back"])


def test_create(directory: Path, report: Report) -> None:
    """One command that makes many files, without data, against one that makes them in a tmpfs."""
    with rig.cluster(directory) as hosts:
        master = hosts.master

        def files_of_famfs() -> float:
            master.mkfs("--alloc-unit", "4k")
            master.mount()
            words = [f"--multi={master.path(str(number))},4096" for number in range(CREATED)]
            took = rig.seconds(master.machine, "famfs", "creat", *words)
            assert len(os.listdir(master.mount_point)) == CREATED
            master.umount()
            return took * 1000

        def files_of_tmpfs() -> float:
            made = directory / "creat"
            made.mkdir()
            words = [str(rig.MAPBENCH), "creat", str(made), "--count", str(CREATED)]
            took = rig.seconds(master.machine, *words)
            subprocess.run(["rm", "-r", made], check=True)
            return took * 1000

        samples = measure(
            {"creat(2) on tmpfs": files_of_tmpfs, "famfs creat --multi": files_of_famfs}
        )
        tell(report, f"{CREATED} files", samples, "ms", "<= 2")


def test_attributes(directory: Path, report: Report) -> None:
    """Lookup and getattr of each file, where the kernel may keep neither; it asks both for the
    directory's attributes too, to check permissions."""
    source = directory / "storm"
    source.mkdir()
    options = ("timeout=0", "default_permissions")
    with rig.cluster(directory) as hosts, rig.passthrough(source, *options) as peer:
        hosts.master.mkfs()
        rig.fill(hosts, STORMED)
        hosts.client.mount("-o", "timeout=0")
        for number in range(STORMED):
            (source / rig.FILE_NAME.format(number)).touch()

        def storm(path: Path | str) -> Callable[[], float]:
            return lambda: rig.nanoseconds_each("stat", path, count=20_000) / 1e3

        samples = measure({"passthrough_ll": storm(peer), "famfs": storm(hosts.client.mount_point)})
        tell(report, "lookup and getattr", samples, "us", "<= 1")


def test_listing(directory: Path, report: Report) -> None:
    """Names of a large directory; with attributes the peer would hold a descriptor for each."""
    source = directory / "large"
    source.mkdir()
    with rig.cluster(directory) as hosts, rig.passthrough(source) as peer:
        hosts.master.mkfs("--loglen", "64m", "--alloc-unit", "4k")
        rig.fill(hosts, LISTED)
        hosts.client.mount()
        for number in range(LISTED):
            (source / rig.FILE_NAME.format(number)).touch()

        def listing(path: Path | str) -> Callable[[], float]:
            def list_once() -> float:
                measured = rig.run("list", path, count=3)
                assert measured["operations"] == 3 * LISTED
                return float(measured["nanoseconds"]) / 3 / 1e6

            return list_once

        samples = measure(
            {"passthrough_ll": listing(peer), "famfs": listing(hosts.client.mount_point)}
        )
        tell(report, f"readdir of {LISTED} entries", samples, "ms", "<= 1")


@pytest.mark.parametrize("operation", ["read", "write"])
def test_blocks(directory: Path, report: Report, operation: str) -> None:
    """Blocks of 1 MiB that go through the daemon. The peer's kernel keeps no pages either, as famfs
    must not keep any."""
    source = directory / operation
    source.mkdir()
    with rig.cluster(directory) as hosts, rig.passthrough(source, "cache=never") as peer:
        hosts.master.mkfs()
        hosts.master.mount()
        hosts.master.creat("file", BLOCKS * MEBI)
        (source / "file").write_bytes(bytes(BLOCKS * MEBI))

        def blocks(path: Path | str) -> Callable[[], float]:
            return lambda: rig.megabytes_per_second(
                operation, f"{path}/file", length=BLOCKS * MEBI, step=MEBI
            )

        # Memory that was never touched costs this machine a page.
        rig.run("write", hosts.master.path("file"), length=BLOCKS * MEBI, step=MEBI)
        samples = measure(
            {"passthrough_ll": blocks(peer), "famfs": blocks(hosts.master.mount_point)}
        )
        tell(report, f"{operation}(2), 1024 KiB", samples, "MB/s", ">= 0.9")


def test_lag(directory: Path, report: Report) -> None:
    """From mkdir(2) on the master to when the other mount has it: by its own looking at the log,
    and for who looks for the name."""
    with rig.cluster(directory) as hosts:
        hosts.master.mkfs()
        hosts.mount_all()

        def position() -> int:
            value = os.getxattr(hosts.client.mount_point, "user.famfs.position")
            return int(json.loads(value)["played"])

        def known(number: int) -> bool:
            return position() > number

        def found(number: int) -> bool:
            try:
                os.stat(hosts.client.path(str(number)))
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise
                return False
            return True

        numbers = iter(range(2 * LAGS))
        for what, visible in (("nobody looks", known), ("a lookup of the name", found)):
            lags = []
            for number in (next(numbers) for _ in range(LAGS)):
                os.mkdir(hosts.master.path(str(number)))
                appended = time.monotonic()
                while not visible(number):
                    pass
                lags.append((time.monotonic() - appended) * 1000)
            cuts = statistics.quantiles(lags, n=100)
            report.add(f"client lag, {what}: p50", cuts[49], "ms")
            report.add(f"client lag, {what}: p99", cuts[98], "ms")
