# SPDX-License-Identifier: Apache-2.0
"""What `famlab status` shows. It reads files and /proc only, so it never waits for anybody."""

from __future__ import annotations

import pwd
import time
from pathlib import Path
from typing import Any

from famlab_vm import process
from famlab_vm.console import Console
from famlab_vm.kernel_log import panic_text
from famlab_vm.state import LabState


def lab_status(state: LabState) -> dict[str, Any]:
    """Return one lab and its hosts as plain values; times in seconds."""
    return {
        "name": state.name,
        "phase": state.phase,
        "up_seconds": round(time.time() - state.created),
        "topology": state.topology.name,
        "shared_bytes": state.topology.shared_size,
        "dax": state.dax,
        "memory": state.memory,
        "workload": state.workload.name,
        "accelerator": "kvm" if state.kvm else "tcg",
        "accelerator_reason": state.accelerator_reason,
        "kernel": str(state.artifacts.kernel),
        "qemu": str(state.artifacts.qemu),
        "uri": state.uri,
        "directory": str(state.directory),
        "hosts": [_host_status(state, host) for host in sorted(state.hosts)],
    }


def _host_status(state: LabState, host: str) -> dict[str, Any]:
    files = state.guest(host).files
    pid = next(iter(process.find_guests(files.directory)), None)
    if pid is None:
        word = "stopped"
    elif panic_text(Console(files.console_log).boot_text()):
        word = "panicked"
    else:
        word = "paused" if _is_paused(state, host) else "running"
    return {
        "name": host, "state": word, "pid": pid, "user": _user(pid), "uuid": state.hosts[host],
    }


def _user(pid: int | None) -> str | None:
    """Return the name of the user that a process runs as, or its number; None if it is gone."""
    if pid is None:
        return None
    try:
        number, _ = process.user(pid)
    except ProcessLookupError:
        return None
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _is_paused(state: LabState, host: str) -> bool:
    """Whether libvirt's embedded driver, in the file that it keeps for a guest, says so."""
    root = state.uri.partition("?root=")[2]
    try:
        path = Path(root) / "run" / "qemu" / f"{state.guest(host).domain_name}.xml"
        return "<domstatus state='paused' reason='user'" in path.read_text(errors="replace")
    except OSError:
        return False


def describe(lab: dict[str, Any]) -> str:
    """Return a lab's status for people."""
    minutes, seconds = divmod(lab["up_seconds"], 60)
    lines = [
        f"lab {lab['name']}: {lab['phase']} for {minutes}m{seconds:02}s, topology "
        f"{lab['topology']}, {lab['dax']}, {lab['memory']} memory, workload {lab['workload']}",
        f"  {lab['accelerator_reason']}",
    ]
    for host in lab["hosts"]:
        pid = f" (pid {host['pid']}, user {host['user']})" if host["pid"] else ""
        lines.append(f"  {host['name']}: {host['state']}{pid}")
    return "\n".join(lines)
