# SPDX-License-Identifier: Apache-2.0
"""Labs of virtual machines that share CXL memory: the package behind the famlab command.

    from famlab_vm import Connection, Lab, Topology

    with Connection.embedded() as connection:
        lab = Lab.create(connection, "mine", Topology.load("one-device"), hosts=2)
        lab.up()
        print(lab.host("host0").run(["cxl", "list"], check=True).text)
        lab.down()
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from famlab_vm.command import CommandResult
    from famlab_vm.connection import Connection
    from famlab_vm.lab import Lab
    from famlab_vm.machine import Machine
    from famlab_vm.paths import Artifacts
    from famlab_vm.topology import Topology
    from famlab_vm.workload import Workload

# libvirt's embedded driver logs to stderr unless told otherwise before it is loaded; its errors
# reach the caller as exceptions. LIBVIRT_LOG_OUTPUTS=1:file:PATH turns its log on.
os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null")

__all__ = [
    "Artifacts", "CommandResult", "Connection", "Lab", "Machine", "Topology", "Workload",
]

_MODULES = {
    "Artifacts": "paths",
    "CommandResult": "command",
    "Connection": "connection",
    "Lab": "lab",
    "Machine": "machine",
    "Topology": "topology",
    "Workload": "workload",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that `famlab --help` needs no libvirt."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
