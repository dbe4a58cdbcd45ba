# SPDX-License-Identifier: Apache-2.0
"""What guests are made of, for the metadata of a run."""

from __future__ import annotations

import mmap
import os
import re
import subprocess
from pathlib import Path

from famlab_vm import Artifacts
from famlab_vm.paths import kernel_with_symbols
from support.repro import sha256
from vm import coherence


def facts(artifacts: Artifacts) -> dict[str, str]:
    """Names and versions of the kernel, the emulator and the image; the seed of what is chosen."""
    return {
        "kernel": f"{artifacts.kernel}, {_kernel_version(artifacts.kernel)}",
        "kernel sha256": sha256(artifacts.kernel),
        "qemu": f"{artifacts.qemu}, {_first_line([str(artifacts.qemu), '--version'])}",
        # The cache names an image after all that went into it.
        "image": artifacts.image.parent.name,
        "memory": coherence.described(),
        "seed": os.environ["SEED"],
    }


def _kernel_version(kernel: Path) -> str:
    vmlinux = kernel_with_symbols(kernel)
    if vmlinux is None:
        return "version unknown"
    with vmlinux.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
        banner = re.search(rb"Linux version \d[ -~]+", content)
        version = banner[0].decode() if banner else "version unknown"
    notes = _output(["readelf", "--notes", str(vmlinux)])
    build_id = re.search(r"Build ID: ([0-9a-f]+)", notes)
    return f"{version}, build id {build_id[1] if build_id else 'unknown'}"


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=30
        )
    except OSError:
        return ""
    return done.stdout.decode(errors="replace")


def _first_line(command: list[str]) -> str:
    return (_output(command).splitlines() or ["version unknown"])[0]
