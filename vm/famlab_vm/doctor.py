# SPDX-License-Identifier: Apache-2.0
"""What this machine has and lacks for labs, and what to do about it.

A finding is ok, note (works, but should be known) or lacking (labs cannot run).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from getpass import getuser
from importlib.util import find_spec
from pathlib import Path

from famlab_vm.account import guest_user
from famlab_vm.errors import FamlabError, PrerequisiteMissing
from famlab_vm.memory import ON_DISK, SHARED_MEMORY, free_bytes, memory_place
from famlab_vm.paths import HOST_PACKAGES, Artifacts, cache_directory, run_directory
from famlab_vm.topology import Topology, topology_names
from famlab_vm.units import format_size

# What two hosts and a build need at least, in bytes.
_MEMORY_NEEDED = 2 << 30
_DISK_NEEDED = 4 << 30
_OLDEST_QEMU = (11, 1)
_OLDEST_AS_ROOT = (9, 1)
_SECONDS = 60


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `level` is ok, note or lacking."""

    level: str
    subject: str
    text: str


def examine(kernel: str | None, qemu: str | None, say: Callable[[str], None]) -> int:
    """Look at everything that labs need; print a line for each. Returns an exit code."""
    lacking = 0
    for finding in _findings(kernel, qemu):
        say(f"{finding.level:8} {finding.subject}: {finding.text}")
        lacking += finding.level == "lacking"
    if lacking:
        say(f"\n{lacking} things are lacking; labs cannot run here yet")
        return PrerequisiteMissing.exit_code
    say("\nlabs can run here")
    return 0


def _findings(kernel: str | None, qemu: str | None) -> Iterator[Finding]:
    yield from _modules()
    yield from _programs()
    yield _libvirt()
    yield _account()
    yield from _room()
    yield _fuse()
    try:
        artifacts = Artifacts.find(kernel, qemu)
    except FamlabError as error:
        yield Finding("lacking", "built files", str(error))
        return
    yield Finding("ok", "kernel", str(artifacts.kernel))
    yield Finding("ok", "guest image", str(artifacts.image))
    yield Finding("ok", "guest binaries", str(artifacts.share))
    yield from _qemu(artifacts.qemu)
    yield _accelerator(artifacts)


def _modules() -> Iterator[Finding]:
    for module, package in (
        ("libvirt", "python3-libvirt"), ("yaml", "python3-yaml"), ("jinja2", "python3-jinja2"),
    ):
        if find_spec(module) is None:
            yield Finding(
                "lacking", f"Python module {module}", f"not installed ({package}): "
                f"`{HOST_PACKAGES}`",
            )


def _programs() -> Iterator[Finding]:
    where = shutil.which("socat")
    if where is None:
        yield Finding("lacking", "socat", f"not installed (for famlab shell): `{HOST_PACKAGES}`")
    else:
        yield Finding("ok", "socat", where)


def _libvirt() -> Finding:
    """Open an embedded driver as a lab would, in a scratch directory."""
    try:
        from famlab_vm.connection import Connection

        root = run_directory() / f"doctor-{os.getpid()}"
        try:
            with Connection.embedded(root) as connection:
                number = int(connection.handle.getLibVersion())
        finally:
            shutil.rmtree(root, ignore_errors=True)
    except FamlabError as error:
        return Finding("lacking", "libvirt's QEMU driver", str(error))
    version = f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"
    return Finding("ok", "libvirt's QEMU driver", f"{version}, inside the famlab process")


def _account() -> Finding:
    """The user that guests run as."""
    try:
        user = guest_user()
    except PrerequisiteMissing as error:
        return Finding("lacking", "user of the guests", str(error))
    return Finding("ok", "user of the guests", user or getuser())


def _room() -> Iterator[Finding]:
    try:
        directory = run_directory()
        yield _disk("run directory", directory)
        yield _shared_memory(directory)
    except FamlabError as error:
        yield Finding("lacking", "run directory", str(error))
    except ImportError:
        pass  # _modules() has said it: without yaml no topology can be read
    cache = cache_directory()
    yield _disk("cache", next(path for path in (cache, *cache.parents) if path.exists()))
    available = _available_memory()
    level = "ok" if available >= _MEMORY_NEEDED else "note"
    yield Finding(
        level, "memory", f"{available >> 20} MiB available; two hosts that fill no shared memory "
        f"use less than {_MEMORY_NEEDED >> 20} MiB",
    )


def _shared_memory(directory: Path) -> Finding:
    """Where the memory of labs would be, as create_memory chooses."""
    sizes = sorted(Topology.load(name).shared_size for name in topology_names())
    subject = "shared memory"
    smallest, largest = (memory_place(size, directory) for size in (sizes[0], sizes[-1]))
    if smallest is None:
        return Finding(
            "lacking", subject, f"neither {SHARED_MEMORY} nor {directory} nor {ON_DISK} has the "
            f"{format_size(sizes[0])} free that the smallest topology needs",
        )
    if largest is None:
        return Finding(
            "note", subject, f"in {smallest}, but the largest topology needs "
            f"{format_size(sizes[-1])} and that is free nowhere",
        )
    if largest == ON_DISK:
        return Finding(
            "note", subject, f"{SHARED_MEMORY} has less than {format_size(sizes[-1])} free; larger "
            f"topologies go to {ON_DISK}, on disk, slower",
        )
    return Finding("ok", subject, f"in {largest}, {free_bytes(largest) >> 20} MiB free")


def _disk(what: str, directory: Path) -> Finding:
    free = free_bytes(directory)
    level = "ok" if free >= _DISK_NEEDED else "note"
    return Finding(
        level, what, f"{directory}, {free >> 20} MiB free (a build needs {_DISK_NEEDED >> 20} MiB)"
    )


def _available_memory() -> int:
    text = Path("/proc/meminfo").read_text()
    match = re.search(r"^MemAvailable:\s*(\d+) kB", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def _fuse() -> Finding:
    device = Path("/dev/fuse")
    if not device.exists():
        return Finding("note", str(device), "not there: famfs runs in hosts, but not here")
    if not os.access(device, os.R_OK | os.W_OK):
        return Finding("note", str(device), "this user may not open it: famfs runs in hosts only")
    return Finding("ok", str(device), "can be opened")


def _ask_qemu(qemu: Path, *arguments: str) -> str:
    done = subprocess.run(
        [qemu, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=_SECONDS, check=False,
    )
    return done.stdout.decode(errors="replace")


def _qemu(qemu: Path) -> Iterator[Finding]:
    try:
        words = _ask_qemu(qemu, "--version")
        devices = _ask_qemu(qemu, "-machine", "none", "-device", "help")
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding("lacking", "QEMU", f"{qemu} does not run: {error}")
        return
    match = re.search(r"version (\d+)\.(\d+)", words)
    if match is None:
        yield Finding("lacking", "QEMU", f"{qemu} does not say its version: {words[:200]!r}")
        return
    version = (int(match[1]), int(match[2]))
    text = f"{version[0]}.{version[1]} at {qemu}"
    if version < _OLDEST_AS_ROOT and os.geteuid() == 0:
        yield Finding(
            "lacking", "QEMU", f"{text}: before 9.1 it cannot start as root and go on as another "
            "user; without root it can be used",
        )
    elif version < _OLDEST_QEMU:
        yield Finding(
            "note", "QEMU", f"{text}: before 11.1 every access to CXL memory is emulated as "
            "device access, some 50 times slower",
        )
    else:
        yield Finding("ok", "QEMU", text)
    absent = [name for name in ("pxb-cxl", "cxl-rp", "cxl-type3", "cxl-upstream", "nvdimm")
              if f'name "{name}"' not in devices]
    if absent:
        yield Finding("lacking", "QEMU's CXL devices", f"it has no {', '.join(absent)}")
    else:
        yield Finding("ok", "QEMU's CXL devices", "host bridge, root port, switch, type 3 memory")


def _accelerator(artifacts: Artifacts) -> Finding:
    from famlab_vm.accelerator import choose_accelerator

    kvm, reason = choose_accelerator(artifacts, lambda _text: None)
    return Finding("ok" if kvm else "note", "accelerator", reason)
