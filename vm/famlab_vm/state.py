# SPDX-License-Identifier: Apache-2.0
"""What a lab remembers between commands: LAB/state.json, replaced in one step, never half written.

Directory of a lab: RUN/NAME/ with state.json, lock, memory/, v/ (libvirt's, if the lab has a driver
directory of its own) and one directory per host.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from famlab_vm.coherence import Memory
from famlab_vm.domain import GuestDescription, GuestFiles
from famlab_vm.errors import LabStateError
from famlab_vm.memory import memory_files
from famlab_vm.paths import Artifacts, check_lab_name, run_directory
from famlab_vm.topology import Bridge, Device, Port, Topology, Window
from famlab_vm.workload import Command, Workload

# Raised whenever older state can no longer be read.
_VERSION = 1


def lab_directory(name: str) -> Path:
    """Return the directory of the lab `name`, which need not exist. Raises UsageError."""
    return run_directory() / check_lab_name(name)


def lab_names() -> list[str]:
    """Return the names of all labs of this user that exist."""
    return sorted(path.parent.name for path in run_directory().glob("*/state.json"))


@dataclass
class LabState:
    """All that has to be known to talk to a lab's guests and to start them again.

    `phase` is starting until `up` is done, then up. `created` is in seconds since the epoch.
    `hosts` maps each host's name to its UUID, which it keeps over restarts. `clock_offsets`: by how
    many seconds the clocks of hosts are ahead, for those that are not right. `user`: whom guests
    run as, if famlab's own is root. `memory`: as coherence.Memory writes it.
    """

    name: str
    uuid: str
    uri: str
    topology: Topology
    dax: str
    kvm: bool
    accelerator_reason: str
    artifacts: Artifacts
    workload: Workload
    hosts: dict[str, str]
    kernel_arguments: str = ""
    clock_offsets: dict[str, int] = field(default_factory=dict)
    user: str = ""
    memory: str = "coherent"
    phase: str = "starting"
    created: float = field(default_factory=time.time)

    @property
    def directory(self) -> Path:
        """The lab's directory."""
        return lab_directory(self.name)

    @property
    def blames(self) -> bool:
        """Whether each access to its shared memory is watched."""
        return Memory.parse(self.memory).blame

    def guest(self, host: str) -> GuestDescription:
        """Return the description of one host. Raises LabStateError if the lab has no such host."""
        if host not in self.hosts:
            raise LabStateError(
                f"lab {self.name} has no {host}; it has {', '.join(sorted(self.hosts))}"
            )
        return GuestDescription(
            host=host,
            domain_name=f"famlab-{self.name}-{host}",
            uuid=self.hosts[host],
            lab_uuid=self.uuid,
            topology=self.topology,
            memory_files=memory_files(self.topology, self.directory),
            dax=self.dax,
            kvm=self.kvm,
            kernel=self.artifacts.kernel,
            image=self.artifacts.image,
            share=self.artifacts.share,
            emulator=self.artifacts.qemu,
            files=GuestFiles(self.directory / host),
            extra_kernel_arguments=self.kernel_arguments,
            clock_offset=self.clock_offsets.get(host, 0),
            user=self.user,
            coherence=Memory.parse(self.memory),
        )

    def save(self) -> None:
        """Write the state file."""
        target = self.directory / "state.json"
        draft = target.with_suffix(".new")
        content = {"version": _VERSION, **dataclasses.asdict(self)}
        draft.write_text(json.dumps(content, default=str, indent=1))
        os.replace(draft, target)

    @classmethod
    def load(cls, name: str) -> LabState:
        """Read the state of lab `name`. Raises LabStateError if it is not up or not readable."""
        path = lab_directory(name) / "state.json"
        try:
            content: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError:
            others = ", ".join(lab_names())
            hint = f"labs that are up: {others}" if others else "no lab is up; start one: famlab up"
            raise LabStateError(f"lab {name!r} is not up ({hint})") from None
        except (OSError, ValueError) as error:
            raise _unreadable(name, path, error) from error
        if not isinstance(content, dict) or content.pop("version", None) != _VERSION:
            raise _unreadable(name, path, "made by another version of famlab")
        try:
            content["topology"] = _topology(content["topology"])
            content["artifacts"] = Artifacts(
                **{key: Path(value) for key, value in content["artifacts"].items()}
            )
            content["workload"] = _workload(content["workload"])
            return cls(**content)
        except (KeyError, TypeError, AttributeError) as error:
            raise _unreadable(name, path, error) from error


def _unreadable(name: str, path: Path, reason: object) -> LabStateError:
    return LabStateError(f"{path}: {reason}; `famlab down --name {name}` removes the lab")


def _topology(content: dict[str, Any]) -> Topology:
    content["devices"] = tuple(Device(**item) for item in content["devices"])
    content["bridges"] = tuple(
        Bridge(
            item["name"],
            tuple(Port(tuple(port["devices"]), port["switch"]) for port in item["ports"]),
        )
        for item in content["bridges"]
    )
    content["windows"] = tuple(
        Window(item["size"], tuple(item["targets"]), item["granularity"])
        for item in content["windows"]
    )
    return Topology(**content)


def _workload(content: dict[str, Any]) -> Workload:
    def commands(items: list[dict[str, Any]]) -> tuple[Command, ...]:
        return tuple(Command(tuple(item["args"]), item["timeout"]) for item in items)

    return Workload(content["name"], commands(content["first"]), commands(content["every"]))
