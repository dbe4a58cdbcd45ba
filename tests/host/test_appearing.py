# SPDX-License-Identifier: Apache-2.0
"""Contract: new files appear on a client by themselves: no remount, no logplay, and without
reading the log from its start again.
"""

from __future__ import annotations

import json
import os
import time

import pytest
from famfs_verbs import Famfs, on_client
from host.cluster import Cluster
from support import media, selection
from support.machine import LocalHost

LINE = 64
MANY = 100 if selection.full() else 30


def counters(machine: LocalHost) -> tuple[int, int]:
    """(bytes invalidated, lines of them to look whether there is anything new)."""
    status = json.loads(machine.control("/status"))
    looks = status["log"]["header_checks"] + status["log"]["identity_checks"]
    return int(status["memory"]["invalidated_bytes"]), int(looks)


def played(machine: LocalHost) -> int:
    return int(json.loads(machine.control("/status"))["log"]["played"])


def test_new_file_appears_although_its_name_was_looked_up_before(
    master: Famfs, client: Famfs
) -> None:
    """A name that was not there a moment ago is there now: no negative entry is kept."""
    assert not client.exists("file")
    master.creat("file", 4096)
    assert client.exists("file")


def test_new_file_appears_in_a_directory_listed_before(master: Famfs, client: Famfs) -> None:
    """A directory that was listed already lists the new entry."""
    master.mkdir("d")
    assert sorted(client.tree()) == ["d"]
    master.creat("d/file", 4096)
    assert sorted(client.tree()) == ["d", "d/file"]


@pytest.mark.parametrize("role", ["master", "client"])
def test_links_and_times_of_a_directory_follow(cluster: Cluster, role: str) -> None:
    """stat(2) of a directory alone shows, soon, that another one was made in it."""
    cluster.master.mkdir("d")
    path = getattr(cluster, role).path("d")
    before = os.stat(path)
    cluster.master.mkdir("d/sub")
    deadline = time.monotonic() + 20
    while (now := os.stat(path)).st_nlink == before.st_nlink and time.monotonic() < deadline:
        time.sleep(0.1)
    assert now.st_nlink == before.st_nlink + 1
    assert now.st_mtime_ns > before.st_mtime_ns


def test_open_directory_goes_on_while_files_appear(master: Famfs, client: Famfs) -> None:
    """Many files made one by one are all on the client in the end, each once."""
    master.mkdir("d")
    script = 'for i in $(seq "$2"); do famfs creat --size 4096 "$1/d/$i" || exit; done'
    master.run("sh", "-c", script, "sh", master.path(), str(MANY))
    names = [name for name in client.tree() if name.startswith("d/")]
    assert sorted(names) == sorted(f"d/{i}" for i in range(1, MANY + 1))


def test_new_file_costs_one_entry_not_the_log(cluster: Cluster) -> None:
    """With many entries in the log, one more makes the client read about one entry."""
    script = 'for i in $(seq "$2"); do famfs creat --size 4096 "$1/$i" || exit; done'
    cluster.master.run("sh", "-c", script, "sh", cluster.master.path(), str(MANY))
    assert cluster.client.exists(str(MANY))
    machine = cluster.machine(cluster.client)
    (bytes_before, looks_before), played_before = counters(machine), played(machine)
    cluster.master.creat("new", 4096)
    assert cluster.client.exists("new")
    bytes_after, looks_after = counters(machine)
    assert played(machine) == played_before + 1
    # The entry itself, and a line for each look at identity and header: the watch never stops
    # looking, and may do so while the counters are read.
    assert bytes_after - bytes_before <= (
        media.ENTRY_SIZE + 2 * LINE + (looks_after - looks_before + 4) * LINE
    )


def test_client_learns_of_a_file_that_nobody_asks_for(cluster: Cluster) -> None:
    """The log is followed also where no name is looked up."""
    machine = cluster.machine(cluster.client)
    before = played(machine)
    cluster.master.creat("new", 4096)
    deadline = time.monotonic() + 20
    while played(machine) == before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert played(machine) == before + 1


def test_logplay_is_harmless(master: Famfs, client: Famfs) -> None:
    """`famfs logplay`, which scripts of the reference call, tells what the log has and changes
    nothing that is there.
    """
    master.mkdir("d")
    master.creat("d/file", 4096)
    before = client.tree()
    assert "0 new log entries; 2 in all, 0 of them skipped" in client.logplay().text
    assert "2 log entries: 1 files, 1 directories, 0 skipped" in client.logplay("--dryrun").text
    assert "0 new log entries" in master.logplay().text
    assert client.tree() == before == on_client(master.tree())
