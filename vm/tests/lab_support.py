# SPDX-License-Identifier: Apache-2.0
"""What several test files share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

from famlab_vm.paths import Artifacts
from famlab_vm.state import LabState, lab_directory
from famlab_vm.topology import Topology
from famlab_vm.workload import Workload

# Starts a process with the command line that marks the guest of a directory.
Fake = Callable[[Path], Popen[bytes]]
# The lab that their kernels are told.
FAKE_LAB = "01234567-89ab-cdef-0123-456789abcdef"


def a_state(name: str) -> LabState:
    """Return a state with every part that is stored."""
    lab_directory(name).mkdir(parents=True, exist_ok=True)
    path = Path("/a")
    return LabState(
        name=name, uuid="u", uri="qemu:///embed?root=/x", topology=Topology.load("switch"),
        dax="fsdev_dax", kvm=True, accelerator_reason="why",
        artifacts=Artifacts(path, path, path, path), workload=Workload.load("famfs"),
        hosts={"host0": "a", "host1": "b"}, clock_offsets={"host1": -60},
    )
