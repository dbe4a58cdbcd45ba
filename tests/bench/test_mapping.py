# SPDX-License-Identifier: Apache-2.0
"""What a famfs file costs when the kernel maps it, against the same memory without famfs and
against ext4 with dax: peers in the same guest, measured in turns.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench.conftest import Report
from bench.mapping_rig import (
    KIBI,
    LARGE_PAGE,
    LENGTH,
    MEBI,
    SMALL_PAGE,
    Rig,
    Subject,
)
from bench.turns import ROUNDS, tell
from famfs_verbs import Famfs
from famlab_vm import Connection
from support import paths, plugin
from support.machine import CommandFailed
from support.skips import missing_feature
from vm.labs import LabKeeper
from vm.shapes import Shape

pytestmark = pytest.mark.timeout(1800)

TOPOLOGY = Path(__file__).with_name("mapping.yaml")
KERNEL_METHODS = ["fmap", "extent-map"]
METHODS = [*KERNEL_METHODS, "daemon-served"]

LOADS_AND_STORES = ["load-sequential", "store-sequential", "load-random", "store-random"]
FAULTS = [
    (operation, step)
    for step in (SMALL_PAGE, LARGE_PAGE)
    for operation in ("fault-read", "fault-write")
]
CALLS = [(operation, step) for step in (4 * KIBI, MEBI) for operation in ("read", "write")]
STRIPS = 4
# As many as a device of 4 GiB can have: each has at least 1 GiB.
BUCKETS = ("--nbuckets", "4")


@pytest.fixture(scope="session")
def rig() -> Iterator[Rig]:
    """The guest, with its raw device bound and ext4 mounted."""
    root = paths.run_directory() / "l" / f"libvirt-{os.getpid()}"
    plugin.adopt(root)
    with Connection.embedded(root) as connection:
        keeper = LabKeeper(connection)
        lab = keeper.start(Shape(1, str(TOPOLOGY), "fsdev_dax"))
        try:
            rig = Rig(lab.hosts[0])
            rig.warm(rig.raw_with(LARGE_PAGE))
            rig.make_ext4()
            yield rig
        finally:
            keeper.end(lab)


@pytest.fixture(autouse=True)
def noise(rig: Rig, report: Report) -> None:
    """Says what kind of machine the figures are from."""
    kvm = rig.host.guest.description.kvm
    report.note(
        f"the guest runs {'with KVM' if kvm else 'emulated (TCG)'}; medians of {ROUNDS} rounds in "
        "turns, +- half of highest minus lowest, ratios of neighbours in time"
    )
    if not kvm:
        report.note(
            "emulation makes kernel code and memory accesses dear in other proportions than a "
            "processor: compare the rows of a block, trust no nanosecond"
        )


@dataclass(frozen=True)
class Mounted:
    """famfs mounted by a method, with a file in one piece and one in strips."""

    method: str
    famfs: Famfs
    whole: Subject
    strips: Subject


@pytest.fixture(scope="module")
def mounted(rig: Rig, request: pytest.FixtureRequest) -> Iterator[Mounted]:
    method: str = request.param
    try:
        famfs = rig.mount_famfs(method)
    except CommandFailed as error:
        if "does not offer" in error.outcome.text:
            missing_feature(f"mapping method {method}", error.outcome.text.strip())
        raise
    try:
        famfs.creat("contiguous", LENGTH)
        famfs.creat("interleaved", LENGTH, "--nstrips", str(STRIPS), *BUCKETS)
        made = Mounted(
            method,
            famfs,
            Subject(f"famfs {method}", famfs.path("contiguous")),
            Subject(f"{STRIPS} strips, famfs {method}", famfs.path("interleaved")),
        )
        for subject in (made.whole, made.strips):
            rig.run(subject, "write", length=LENGTH, step=MEBI)
        yield made
    finally:
        famfs.umount()


kernel_methods = pytest.mark.parametrize("mounted", KERNEL_METHODS, indirect=True)
all_methods = pytest.mark.parametrize("mounted", METHODS, indirect=True)


@pytest.mark.parametrize(("operation", "step"), FAULTS)
def test_first_touch_of_the_peers(rig: Rig, report: Report, operation: str, step: int) -> None:
    """What famfs is compared with, without famfs: ext4 against the raw device."""
    samples = rig.fault_times([rig.raw_with(step), rig.ext4], operation, step)
    tell(report, f"{operation}, {step // KIBI} KiB", samples, "us")


@kernel_methods
@pytest.mark.parametrize("operation", LOADS_AND_STORES)
def test_loads_and_stores(rig: Rig, mounted: Mounted, report: Report, operation: str) -> None:
    """Through a mapping that is complete: the memory itself, no kernel in between."""
    subjects = [rig.raw_with(LARGE_PAGE), mounted.whole]
    samples = rig.rates(subjects, operation, length=64 * MEBI, count=MEBI)
    tell(report, operation, samples, "MB/s", ">= 0.97")


@kernel_methods
@pytest.mark.parametrize(("operation", "step"), FAULTS)
def test_first_touch(
    rig: Rig, mounted: Mounted, report: Report, operation: str, step: int
) -> None:
    """The fault that maps a page of a file that was opened anew, small pages and large ones."""
    subjects = [rig.raw_with(step), rig.ext4, mounted.whole]
    samples = rig.fault_times(subjects, operation, step)
    tell(report, f"{operation}, {step // KIBI} KiB", samples, "us", "<= 1.2")


@kernel_methods
@pytest.mark.parametrize("operation", ["fault-read", "fault-write"])
def test_touch_of_a_file_mapped_before(
    rig: Rig, mounted: Mounted, report: Report, operation: str
) -> None:
    """The same for a file of which all was touched before: without making large folios, which is
    what fs/dax does for the first touch of a file and the raw device did when it was bound."""
    subjects = [rig.raw_with(LARGE_PAGE), rig.ext4, mounted.whole]
    for subject in subjects:
        rig.run(subject, operation, length=LENGTH, step=LARGE_PAGE)
    samples = rig.fault_times(subjects, operation, LARGE_PAGE, anew=False)
    tell(report, f"{operation} again, {LARGE_PAGE // KIBI} KiB", samples, "us", "<= 1.2")


@all_methods
@pytest.mark.parametrize(("operation", "step"), CALLS)
def test_read_and_write(
    rig: Rig, mounted: Mounted, report: Report, operation: str, step: int
) -> None:
    """System calls that copy. What the daemon serves goes through it, and has no aim."""
    served = mounted.method == "daemon-served"
    length = 64 * MEBI if step == MEBI and not served else 8 * MEBI
    samples = rig.rates([rig.ext4, mounted.whole], operation, length=length, step=step)
    what = f"{operation}(2), {step // KIBI} KiB"
    tell(report, what, samples, "MB/s", "" if served else ">= 0.9")


@kernel_methods
@pytest.mark.parametrize("operation", [*LOADS_AND_STORES, "fault-write", "read", "write"])
def test_interleaved(rig: Rig, mounted: Mounted, report: Report, operation: str) -> None:
    """A file in strips against one of the same size in one piece."""
    subjects = [mounted.whole, mounted.strips]
    if operation == "fault-write":
        samples = rig.fault_times(subjects, operation, LARGE_PAGE)
        return tell(report, f"{operation}, 2048 KiB", samples, "us", "<= 1.11")
    samples = rig.rates(subjects, operation, length=64 * MEBI, count=MEBI, step=MEBI)
    what = f"{operation}(2), 1024 KiB" if operation in ("read", "write") else operation
    tell(report, what, samples, "MB/s", ">= 0.9")


@kernel_methods
def test_messages(rig: Rig, mounted: Mounted, report: Report) -> None:
    """What the daemon is asked: counted as reads of /dev/fuse that give something."""
    counted = rig.messages(mounted.whole, "famfsd")
    asks_for_map = mounted.method == "fmap"  # the other method sends it before it answers
    for key, what, aim in (
        ("first_open", "first open of a file", 2 if asks_for_map else 1),
        ("later_open", "later open", 1),
        ("faults", f"{LENGTH // LARGE_PAGE} faults", 0),
    ):
        name = f"messages, {what}: {mounted.whole.name}"
        report.add(name, counted[key], "", aim=f"<= {aim}")


@kernel_methods
@pytest.mark.parametrize("strips", [1, 2, STRIPS])
def test_kernel_memory(rig: Rig, mounted: Mounted, report: Report, strips: int) -> None:
    """What the map of one file takes in the kernel, as that counts it."""
    layout = () if strips == 1 else ("--nstrips", str(strips), *BUCKETS)
    mounted.famfs.creat(f"memory{strips}", 32 * MEBI, *layout)
    path = mounted.famfs.path(f"memory{strips}")
    node = rig.sh('stat -c %i "$1"', path).strip()
    listed = rig.sh('exec 3<"$1"; cat /sys/kernel/debug/fuse_dax/files', path)
    found = set(re.findall(rf" node {node} .* strips (\d+) memory (\d+):", listed))
    assert len(found) == 1, f"{path} is node {node} of\n{listed}"
    [(counted, memory)] = found
    assert int(counted) == strips
    what = f"kernel memory of a map, {strips} strips"
    report.add(f"{what}: {mounted.whole.name}", int(memory), "bytes")
