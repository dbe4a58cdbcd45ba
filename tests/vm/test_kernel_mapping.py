# SPDX-License-Identifier: Apache-2.0
"""Contract: the kernel side of the mapping methods, without famfs. mapsrv (tests/guest) is a FUSE
server and its user in one program: it gives right and wrong maps, withdraws them, makes memory
fail, and says what did not come out right.
"""

from __future__ import annotations

import re

import pytest
from famlab_vm.machine import DaxDevice
from support import guest, troubles
from support.skips import missing_feature
from vm.host import LabHost
from vm.labs import LabKeeper, TestLab
from vm.shapes import Shape

EXIT_NOT_OFFERED = 77

BOTH = [
    "access", "pmd", "copy-to-itself", "ends", "sharing", "exec", "interleave", "many",
    "wrong-maps", "withdraw", "changed-size", "sync", "disconnect", "no-rawio",
]  # fmt: skip
GROUPS = {
    "a": [*BOTH, "large-map", "registration", "withdrawn-early"],
    "e": [*BOTH, "wrong-use", "backing-ids"],
}
# The kernel reports these on its console, in words that are a complaint anywhere else.
MEMORY_ERRORS = ["failure", "unbind"]
METHODS = sorted(GROUPS)


def run_group(host: LabHost, method: str, group: str, devices: list[DaxDevice]) -> None:
    paths_of_devices = [device.path for device in devices[:2]]
    words = [guest.program("mapsrv"), method, group, *paths_of_devices]
    done = host.run(words, timeout=500, check=False)
    if done.returncode == EXIT_NOT_OFFERED:
        missing_feature(f"mapping method {method}", done.text.strip())
    assert done.returncode == 0, done.text


@pytest.mark.timeout(600)
@pytest.mark.shapes(hosts=(1,), dax=("fsdev_dax",))
@pytest.mark.parametrize(
    ("method", "group"), [(method, group) for method in METHODS for group in GROUPS[method]]
)
def test_kernel_mapping(
    lab: TestLab, devices: list[DaxDevice], shape: Shape, method: str, group: str
) -> None:
    """Each group of checks passes, for file maps (a) and backing maps (e)."""
    run_group(lab.hosts[0], method, group, devices)


@pytest.mark.timeout(600)
@pytest.mark.shapes(
    hosts=(1,), dax=("fsdev_dax",), topologies=("two-bridges", "switch"), only=True
)
@pytest.mark.parametrize("group", ["interleave", "sync", "disconnect"])
@pytest.mark.parametrize("method", METHODS)
def test_kernel_mapping_of_several_devices(
    lab: TestLab, devices: list[DaxDevice], shape: Shape, method: str, group: str
) -> None:
    """Strips on two devices, and a file on the second."""
    assert len(devices) == 2
    run_group(lab.hosts[0], method, group, devices)


@pytest.mark.timeout(600)
@pytest.mark.expects_kernel_trouble("Memory failure:", host="host0")
@pytest.mark.shapes(hosts=(1,), dax=("fsdev_dax",))
@pytest.mark.parametrize("group", MEMORY_ERRORS)
@pytest.mark.parametrize("method", METHODS)
def test_memory_that_fails_or_goes(
    lab: TestLab, devices: list[DaxDevice], shape: Shape, method: str, group: str
) -> None:
    """Failed pages and a removed device hit who uses them and nobody else, without a warning."""
    host = lab.hosts[0]
    before = len(host.guest.dmesg().splitlines())
    run_group(host, method, group, devices)
    said = "\n".join(host.guest.dmesg().splitlines()[before:])
    complaints = troubles.in_kernel_log(said)
    assert complaints, "the kernel has not reported the errors that were made"


@pytest.mark.shapes(hosts=(1,), dax=("fsdev_dax",))
@pytest.mark.parametrize("method", METHODS)
def test_every_group_is_run(lab: TestLab, shape: Shape, method: str) -> None:
    """mapsrv has no group of checks that is not a test here."""
    listed = lab.hosts[0].run([guest.program("mapsrv"), method, "list"]).stdout.decode().split()
    assert sorted(listed) == sorted(GROUPS[method] + MEMORY_ERRORS)


def test_unit_tests_of_the_kernel_pass(keeper: LabKeeper) -> None:
    """Told to, the kernel runs the unit tests of the maps when it boots, and all pass."""
    with keeper.apart(Shape(hosts=1), kernel_arguments="kunit.enable=1") as lab:
        log = lab.hosts[0].guest.dmesg()
    if "fuse_dax_map" not in log:
        missing_feature("kunit", "the kernel has no CONFIG_FUSE_DAX_KUNIT_TEST")
    suites = re.findall(r"\] *(not ok|ok) \d+ fuse_dax_map\b", log)
    assert suites == ["ok"], "\n".join(line for line in log.splitlines() if "ok " in line)
    assert not re.search(r"\bnot ok \d+", log)
