# SPDX-License-Identifier: Apache-2.0
"""The user that guests run as: never root, so that a guest that takes over its QEMU has not much.

As root, QEMU is started as root and becomes that user before the guest's first instruction. By then
it has opened all it needs: kernel, image, shared memory, sockets, console log and the directories
that it serves, which may be where nobody but root may look (/root, the run directory). Of these it
needs permission only for what guests open later: give_to_user(), check_share().
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from famlab_vm.errors import PrerequisiteMissing
from famlab_vm.paths import HOST_PACKAGES

# libvirt's QEMU driver needs it to exist, so it is there on every machine on which root has labs.
_NAME = "libvirt-qemu"

# libvirt's choice without elevateprivileges=deny, which would keep QEMU from becoming that user.
# Once it has, no capability is left to become another, and seccomp keeps it from gaining any.
_SANDBOX = "on,obsolete=deny,spawn=deny,resourcecontrol=deny"


def guest_user() -> str:
    """Return the name of the user that guests of root become; empty if this is not root, whose
    guests run as the same user.

    Raises PrerequisiteMissing if there is none.
    """
    if os.geteuid() != 0:
        return ""
    try:
        return pwd.getpwnam(_NAME).pw_name
    except KeyError:
        raise PrerequisiteMissing(
            f"as root, libvirt's QEMU driver needs the user and group {_NAME} to exist, and guests "
            f"run as that user; run `{HOST_PACKAGES}`"
        ) from None


def qemu_arguments(user: str) -> list[str]:
    """Return what makes QEMU become `user`, if there is one."""
    return ["-run-with", f"user={user}", "-sandbox", _SANDBOX] if user else []


def give_to_user(path: Path, user: str) -> None:
    """Make a file or directory belong to `user`, if there is one."""
    if user:
        account = pwd.getpwnam(user)
        os.chown(path, account.pw_uid, account.pw_gid)


def check_share(share: Path, user: str) -> None:
    """Look whether `user`, if there is one, can read what guests see as /opt/famlab.

    Raises PrerequisiteMissing if not: it was made with a strict umask.
    """
    if not user:
        return
    for directory, _, names in os.walk(share):
        for path in (Path(directory), *(Path(directory) / name for name in names)):
            mode = path.lstat().st_mode
            wanted = 0o005 if stat.S_ISDIR(mode) else 0o004
            if not stat.S_ISLNK(mode) and mode & wanted != wanted:
                raise PrerequisiteMissing(
                    f"{path}: may not be read by {user}, whom guests run as; "
                    f"run `chmod -R a+rX {share}`"
                )
