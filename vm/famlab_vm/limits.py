# SPDX-License-Identifier: Apache-2.0
"""How large the files may get that a guest makes its QEMU write: in the exchange directory, and the
console log.

The kernel keeps the limit (RLIMIT_FSIZE), so it holds while no famlab process watches. At the limit
the guest is told "File too large", and of its console nothing more is kept until it is restarted;
QEMU goes on, as its threads block the signal. How many files there are is not limited.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from famlab_vm import process
from famlab_vm.errors import LabStateError
from famlab_vm.memory import free_bytes

# In bytes; less where half of what is free is less.
LARGEST_FILE = 1 << 30


def limit_files(directory: Path, console_size: int) -> None:
    """Limit the files of the running guest with this directory.

    Its console log may grow by as much as other files. Raises LabStateError.
    """
    size = console_size + min(LARGEST_FILE, free_bytes(directory) // 2)
    for pid in process.find_guests(directory):
        with suppress(ProcessLookupError):  # what starts it says why it died
            done = subprocess.run(
                ["prlimit", "--pid", str(pid), f"--fsize={size}:{size}"],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **_as(pid),
            )
            if done.returncode != 0 and pid in process.find_guests(directory):
                words = done.stderr.strip()
                raise LabStateError(f"{directory.name}: its files cannot be limited: {words}")


def _as(pid: int) -> dict[str, Any]:
    """Return what runs a program as the user of `pid`.

    Root without CAP_SYS_RESOURCE, as in a container, may not limit processes of other users.
    """
    user, group = process.user(pid)
    if user == os.geteuid():
        return {}
    return {"user": user, "group": group, "extra_groups": ()}
