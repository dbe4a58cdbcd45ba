# SPDX-License-Identifier: Apache-2.0
"""Contract: the kernel side of the mapping methods, without famfs. mapsrv is a FUSE server and its
user in one program: it serves right and wrong maps, and says what did not come out right.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from famlab_vm.machine import DaxDevice
from support import paths
from support.skips import missing_feature
from vm.labs import LabHost, LabKeeper, Shape, TestLab

SOURCE = Path(__file__).parent / "mapsrv" / "mapsrv.c"
# What a memory error that is made on purpose does not print.
COMPLAINT = re.compile(r"WARNING:|BUG|Oops|Call Trace|KASAN|INFO: |possible .* locking|suspicious")


@pytest.fixture(scope="session")
def mapsrv() -> Path:
    """The program, compiled for the guests."""
    program = paths.BUILD / "mapsrv" / "mapsrv"
    program.parent.mkdir(exist_ok=True)
    warnings = "-Wall -Wextra -Werror -Wno-unused-result -Wno-sign-compare".split()
    warnings += ["-Wno-format-zero-length", "-Wno-stringop-overflow"]
    gcc = ["gcc", "-std=gnu17", "-O1", *warnings, "-static", "-pthread"]
    subprocess.run(
        [paths.REPOSITORY / "setup/in-tree", "--", *gcc, "-o", program, SOURCE], check=True
    )
    return program


def has_methods(host: LabHost) -> bool:
    return host.run(["test", "-d", "/sys/kernel/debug/fuse_dax"], check=False).returncode == 0


@pytest.mark.expects_kernel_trouble("memory errors are made on purpose")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("method", ["a", "e"])
@pytest.mark.shapes(
    hosts=(1,), dax=("fsdev_dax",), topologies=("one-device", "two-bridges", "switch"), only=True
)
def test_kernel_mapping_method(
    keeper: LabKeeper, lab: TestLab, devices: list[DaxDevice], mapsrv: Path, method: str,
    shape: Shape,
) -> None:
    """File maps (a) and backing maps (e): access, wrong maps, withdrawal, failure, removal."""
    host = lab.hosts[0]
    if not has_methods(host):
        missing_feature("mapping methods", "no fuse_dax in the debugfs of this kernel")
    host.guest.push(mapsrv, "/run/mapsrv")
    before = len(host.guest.dmesg().splitlines())
    done = host.run(
        ["/run/mapsrv", method, *(device.path for device in devices[:2])], timeout=800, check=False
    )
    log = host.guest.dmesg().splitlines()[before:]
    assert done.returncode == 0, done.text
    assert not [line for line in log if COMPLAINT.search(line)]
    keeper.drop()  # pages of its guest are marked as failed


@pytest.mark.shapes(hosts=(1,))
def test_kernel_unit_tests_passed(lab: TestLab, shape: Shape) -> None:
    """A kernel with KUnit has run the tests of the series at boot, and none failed."""
    log = lab.hosts[0].guest.dmesg()
    if "KTAP version" not in log:
        missing_feature("kunit", "the kernel is not one of KERNEL_FLAVOR=kunit or debug")
    assert re.search(r"\bok \d+ fuse_dax_map$", log, re.MULTILINE)
    assert "not ok" not in log
