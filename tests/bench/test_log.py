# SPDX-License-Identifier: Apache-2.0
"""What the log costs on this machine, without virtual machines: appending and replaying entries."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from bench.conftest import Report
from host.cluster import Cluster
from host.test_limits import fill_log
from support import paths

FILES = 200


def small_cluster(directory: Path) -> Cluster:
    directory.mkdir()
    memory = directory / "memory"
    with memory.open("wb") as file:
        file.truncate(4 << 30)
    return Cluster(directory, memory, "plain")


def remove(directory: Path, cluster: Cluster) -> None:
    cluster.close()
    shutil.rmtree(directory)


def test_append(report: Report) -> None:
    """`famfs creat` one by one, and many files in one call."""
    directory = paths.run_directory() / "append"
    cluster = small_cluster(directory)
    try:
        cluster.master.mkfs()
        cluster.master.mount()
        script = 'for i in $(seq "$2"); do famfs creat --size 4096 "$1/$i" || exit; done'
        started = time.monotonic()
        cluster.master.run("sh", "-c", script, "sh", cluster.master.path(), str(FILES))
        each = (time.monotonic() - started) / FILES
        report.add("creat, a process for each file", each * 1e6, "us")
        words = [
            w for i in range(FILES) for w in ("--multi", f"{cluster.master.path(f'm{i}')},4096")
        ]
        started = time.monotonic()
        cluster.master.famfs("creat", *words)
        report.add(
            "creat --multi",
            (time.monotonic() - started) / FILES * 1e6,
            "us",
            "creat, a process for each file",
        )
    finally:
        remove(directory, cluster)


def test_replay(report: Report) -> None:
    """Mount of a full log, and of an empty one."""
    directory = paths.run_directory() / "replay"
    cluster = small_cluster(directory)
    try:
        cluster.master.mkfs()
        for name, fill in (("mount, empty log", False), ("mount, 15420 entries", True)):
            if fill:
                fill_log(directory / "memory", leave=0)
            started = time.monotonic()
            cluster.client.mount()
            base = "" if not fill else "mount, empty log"
            report.add(name, (time.monotonic() - started) * 1000, "ms", base)
            cluster.client.umount()
    finally:
        remove(directory, cluster)
