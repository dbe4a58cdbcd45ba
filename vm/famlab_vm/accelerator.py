# SPDX-License-Identifier: Apache-2.0
"""Whether guests run with KVM or under emulation (TCG).

/dev/kvm being there says nothing: on some machines it opens, creates a VM, and no kernel boots on
it. So KVM is used only after a guest of the lab's own kernel and image reached user space with it.
The answer is kept in the cache, for this machine, kernel and QEMU.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from famlab_vm.domain import cpu_option
from famlab_vm.paths import Artifacts, cache_directory
from famlab_vm.qemu_option import escape

_KVM = Path("/dev/kvm")
# Seconds. With a KVM that works, init speaks after less than one.
_PROBE_TIMEOUT = 10.0
# Seconds for which an answer stands that may have come from a busy machine alone.
_DOUBT_LASTS = 86400.0


def choose_accelerator(
    artifacts: Artifacts, say: Callable[[str], None]
) -> tuple[bool, str]:
    """Return whether to use KVM, and why, in words."""
    if not os.access(_KVM, os.R_OK | os.W_OK):
        reason = "is not there" if not _KVM.exists() else "may not be opened by this user"
        return False, f"TCG: {_KVM} {reason}"
    store = cache_directory() / "accelerator" / f"{_machine_key(artifacts)}.json"
    try:
        known = json.loads(store.read_text())
        if known["final"] or time.time() - store.stat().st_mtime < _DOUBT_LASTS:
            return bool(known["kvm"]), str(known["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    say("accelerator: trying whether a guest really boots with KVM (once per machine)")
    works, reason, final = probe_kvm(artifacts)
    say(f"accelerator: {reason}")
    store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = store.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps({"kvm": works, "reason": reason, "final": final}))
    draft.replace(store)
    return works, reason


def _machine_key(artifacts: Artifacts) -> str:
    """Name what the answer depends on: this machine's CPU and kernel, the guest, and QEMU."""
    cpu = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith(("model name", "vendor_id", "flags"))
    ][:3]
    facts = [platform.release(), platform.version(), *cpu, cpu_option(kvm=True)]
    for path in (artifacts.kernel, artifacts.qemu):
        status = path.stat()
        facts.append(f"{path} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]


def probe_kvm(artifacts: Artifacts) -> tuple[bool, str, bool]:
    """Boot the lab's kernel and image with KVM.

    Returns whether its init spoke, a reason, and whether that is so at any time: a guest that did
    nothing in time may have been on a busy machine.
    """
    command = [
        str(artifacts.qemu), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", "q35,accel=kvm,hpet=off,smm=off", "-cpu", cpu_option(kvm=True), "-m", "256M",
        "-kernel", str(artifacts.kernel), "-serial", "stdio",
        "-append", "root=/dev/vda rootfstype=erofs ro init=/usr/lib/famlab/init console=ttyS0 "
        "panic=-1 famlab.host=host0 famlab.fabric=none",
        "-drive", f"file={escape(artifacts.image)},if=virtio,format=raw,readonly=on",
    ]
    start = time.monotonic()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as qemu:
        timer = threading.Timer(_PROBE_TIMEOUT, qemu.kill)
        timer.start()
        try:
            assert qemu.stdout is not None and qemu.stderr is not None
            for line in qemu.stdout:
                if line.startswith(b"famlab: "):
                    seconds = time.monotonic() - start
                    return True, f"KVM: a guest reached user space with it in {seconds:.1f} s", True
            qemu.kill()
            words = qemu.stderr.read().decode(errors="replace").strip().splitlines()
        finally:
            timer.cancel()
            qemu.kill()
    if time.monotonic() - start >= _PROBE_TIMEOUT:
        return False, f"TCG: a guest with KVM did nothing for {_PROBE_TIMEOUT:.0f} s", False
    detail = f" ({words[-1]})" if words else ""
    return False, f"TCG: a guest with KVM died before user space{detail}", True
