# SPDX-License-Identifier: Apache-2.0
"""Contract: `famfs fsck --repair` mends what leaves no doubt, says first what it would do, keeps
what it changes, and is for the master of a file system that is not mounted.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from famfs_verbs import FSCK_CLEAN, FSCK_DAMAGE, FSCK_USAGE, Famfs
from host.cluster import Cluster
from support.machine import Outcome
from support.media import ENTRY_SIZE, HEADER_SIZE, LOG_OFFSET, medium, set_counters


@pytest.fixture
def backend() -> str:
    return "plain"


@pytest.fixture
def unmounted(hosts: Cluster) -> Cluster:
    """Three directories, 0 to 2, on a file system that is not mounted."""
    hosts.master.mkfs()
    hosts.master.mount()
    for name in ("a", "b", "c"):
        hosts.master.mkdir(name)
    hosts.master.umount()
    return hosts


def log(memory: Path) -> bytes:
    with memory.open("rb") as file:
        file.seek(LOG_OFFSET)
        return file.read(HEADER_SIZE + 8 * ENTRY_SIZE)


def tear(memory: Path, index: int) -> None:
    """The cache line with an entry's checksum never arrived."""
    end = LOG_OFFSET + HEADER_SIZE + (index + 1) * ENTRY_SIZE
    with memory.open("r+b") as file:
        file.seek((end - 8) // 64 * 64)
        file.write(bytes(end - file.tell()))


def repair(host: Famfs, directory: Path, how: str = "--repair=apply") -> Outcome:
    saved = () if how == "--repair" else ("--save", str(directory / "saved.json"))
    return host.fsck("--json", how, *saved, check=False)


def said(outcome: Outcome) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(outcome.stdout)
    return report


@pytest.mark.parametrize(
    "seqnum, index, left",
    [(9, 3, 3), (2, 2, 3), (3, 1, 3), (5, 5, 3), (1 << 40, 1 << 40, 3)],
    ids=["seqnum skewed", "not announced", "half announced", "never written", "beyond the log"],
)
def test_counters(
    unmounted: Cluster, memory: Path, directory: Path, seqnum: int, index: int, left: int
) -> None:
    """Counters that disagree with the entries: shown, then mended, and what was there is kept."""
    set_counters(memory, seqnum, index)
    before = log(memory)
    master = unmounted.master
    shown = repair(master, directory, "--repair")
    assert shown.returncode == FSCK_DAMAGE
    assert said(shown)["repair"]["wanted"] == {"next_seqnum": left, "next_index": left}
    assert said(shown)["repair"]["applied"] is False
    assert log(memory) == before

    applied = repair(master, directory)
    assert applied.returncode == FSCK_CLEAN, applied
    assert said(applied)["repair"]["applied"] is True
    assert said(applied)["log"]["next_index"] == left
    saved = json.loads((directory / "saved.json").read_text())
    with memory.open("r+b") as file:  # undo it by what was saved
        for word in saved["words"]:
            file.seek(word["offset"])
            assert int.from_bytes(file.read(8), "little") == word["after"]
            file.seek(word["offset"])
            file.write(word["before"].to_bytes(8, "little"))
    assert log(memory) == before

    (directory / "saved.json").unlink()
    assert repair(master, directory).returncode == FSCK_CLEAN
    unmounted.mount_all()
    assert sorted(unmounted.client.tree()) == ["a", "b", "c"][:left]
    master.mkdir("after")
    assert unmounted.client.exists("after")


def test_torn_last_append(unmounted: Cluster, memory: Path, directory: Path) -> None:
    """The reference announces an entry before it is in memory; a crash leaves a part of it."""
    tear(memory, 2)
    assert unmounted.client.fsck(check=False).returncode == FSCK_DAMAGE
    assert "whole cache lines" in said(repair(unmounted.master, directory))["repair"]["reason"]
    unmounted.mount_all()
    assert sorted(unmounted.client.tree()) == ["a", "b"]


def test_what_needs_guessing_is_refused(unmounted: Cluster, memory: Path, directory: Path) -> None:
    """A last entry with a wrong bit may be a file that was there: nothing is changed."""
    with medium(memory) as spoilt:
        spoilt.set_entry(2, "crc", 12345)
    before = log(memory)
    refused = repair(unmounted.master, directory)
    assert refused.returncode == FSCK_DAMAGE
    assert said(refused)["repair"]["refused"] is True
    assert log(memory) == before
    assert not (directory / "saved.json").exists()


def test_nothing_to_repair(unmounted: Cluster, directory: Path) -> None:
    done = repair(unmounted.master, directory)
    assert done.returncode == FSCK_CLEAN
    assert said(done)["repair"]["wanted"] is None
    assert not (directory / "saved.json").exists()


def test_only_the_master_repairs(unmounted: Cluster, memory: Path, directory: Path) -> None:
    """Another host is shown what there is to mend, and cannot do it, with or without identity."""
    set_counters(memory, 2, 2)
    assert said(repair(unmounted.client, directory, "--repair"))["repair"]["wanted"]
    identity = unmounted.machine(unmounted.client).directory / "system_uuid"
    for known in (False, True):
        if known:
            identity.write_text(f"{uuid.uuid4()}\0")
        refused = repair(unmounted.client, directory)
        assert refused.returncode == FSCK_USAGE and "only the master" in refused.text
    assert repair(unmounted.master, directory).returncode == FSCK_CLEAN


def test_mounted_file_system_is_not_repaired(
    unmounted: Cluster, memory: Path, directory: Path
) -> None:
    """Neither by its mount point nor by its device."""
    unmounted.master.mount()
    for target in (unmounted.master.mount_point, str(memory)):
        refused = unmounted.master.famfs("fsck", "--repair=apply", target, check=False)
        assert refused.returncode == FSCK_USAGE and "mounted" in refused.text
    unmounted.master.fsck("--repair")


def test_saved_copy_is_never_overwritten(
    unmounted: Cluster, memory: Path, directory: Path
) -> None:
    set_counters(memory, 2, 2)
    (directory / "saved.json").write_text("precious")
    before = log(memory)
    refused = repair(unmounted.master, directory)
    assert refused.returncode == FSCK_USAGE and "saved.json" in refused.text
    assert log(memory) == before
    assert (directory / "saved.json").read_text() == "precious"


@pytest.mark.parametrize("option", ["--repair=yes", "--save=file"])
def test_options_that_mean_nothing_are_refused(unmounted: Cluster, option: str) -> None:
    assert unmounted.master.fsck(option, check=False).returncode == FSCK_USAGE
