# SPDX-License-Identifier: Apache-2.0
"""What famfs's own programs are measured with, on this machine: memory, a directory and libfuse's
passthrough_ll, all of them in a tmpfs.

passthrough_ll is the example in Debian's libfuse3-dev, compiled as its head says, with -O2.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from host.cluster import Cluster
from support import media, paths
from support.machine import Machine

GIBI = 1 << 30
DEVICE_SIZE = 4 * GIBI
PROGRAMS = paths.BUILD / "bench"
MAPBENCH = PROGRAMS / "mapbench"
PASSTHROUGH = PROGRAMS / "passthrough_ll"
EXAMPLE = Path("/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c")
# Longer than std::string holds without allocating.
FILE_NAME = "checkpoint-{:06}.bin"


def compile_programs() -> None:
    """mapbench for this machine, and the peer."""
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    if not EXAMPLE.exists():
        # Images of Debian for containers may leave out all of /usr/share/doc.
        pytest.fail(f"{EXAMPLE} is not there; reinstall libfuse3-dev with documents", pytrace=False)
    include = paths.TESTS / "guest"
    _compile(MAPBENCH, include / "mapbench", ["g++", "-std=c++20", f"-I{include}"])
    flags = subprocess.check_output(["pkg-config", "--cflags", "--libs", "fuse3"], text=True)
    _compile(PASSTHROUGH, EXAMPLE, ["cc", "-w"], shlex.split(flags))


def _compile(
    program: Path, source: Path, compiler: list[str], libraries: Sequence[str] = ()
) -> None:
    sources = sorted(source.glob("*.cpp")) if source.is_dir() else [source]
    read = [*source.glob("*"), source]
    if program.exists() and program.stat().st_mtime > max(file.stat().st_mtime for file in read):
        return
    subprocess.run([*compiler, "-O2", "-o", program, *sources, *libraries], check=True)


def run(operation: str, path: Path | str, **options: int) -> dict[str, Any]:
    """One measurement of mapbench."""
    words = [str(MAPBENCH), operation, str(path)]
    for name, value in options.items():
        words += [f"--{name}", str(value)]
    measured: dict[str, Any] = json.loads(subprocess.check_output(words, timeout=300))
    return measured


def nanoseconds_each(operation: str, path: Path | str, **options: int) -> float:
    measured = run(operation, path, **options)
    return float(measured["nanoseconds"] / measured["operations"])


def megabytes_per_second(operation: str, path: Path | str, **options: int) -> float:
    measured = run(operation, path, **options)
    return float(measured["bytes"] / measured["nanoseconds"] * 1e3)


def seconds(machine: Machine, *argv: str) -> float:
    """How long a command takes."""
    started = time.monotonic()
    machine.run(argv, timeout=300)
    return time.monotonic() - started


@contextmanager
def passthrough(source: Path, *options: str) -> Iterator[Path]:
    """Where passthrough_ll serves a directory."""
    mount_point = source.with_name(f"{source.name}.passthrough")
    mount_point.mkdir()
    words = [str(PASSTHROUGH), "-f", "-o", ",".join([f"source={source}", *options])]
    server = subprocess.Popen([*words, str(mount_point)], stdin=subprocess.DEVNULL)
    try:
        while not mount_point.is_mount():
            assert server.poll() is None, f"passthrough_ll ended with {server.returncode}"
            time.sleep(0.01)
        yield mount_point
    finally:
        subprocess.run(["umount", str(mount_point)], check=True)
        server.wait(timeout=60)
        mount_point.rmdir()


@contextmanager
def cluster(directory: Path, name: str = "hosts") -> Iterator[Cluster]:
    """Two hosts on memory of their own."""
    (directory / name).mkdir()
    memory = directory / name / "memory"
    with memory.open("wb") as file:
        file.truncate(DEVICE_SIZE)
    hosts = Cluster(directory / name, memory, "plain")
    try:
        yield hosts
    finally:
        hosts.close()
        shutil.rmtree(directory / name)


def memory_of(hosts: Cluster) -> Path:
    return Path(hosts.master.device)


def fill(hosts: Cluster, count: int) -> None:
    """Appends files with our own encoder, to a file system that is not mounted."""
    with media.medium(memory_of(hosts)) as medium:
        medium.append_files(count, FILE_NAME)


def log_bytes(hosts: Cluster) -> bytes:
    """The entries of a log, and the header before them."""
    with media.medium(memory_of(hosts)) as medium:
        length = media.HEADER_SIZE + medium.entry_count() * media.ENTRY_SIZE
    with memory_of(hosts).open("rb") as file:
        file.seek(media.LOG_OFFSET)
        return file.read(length)
