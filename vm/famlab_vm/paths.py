# SPDX-License-Identifier: Apache-2.0
"""Where things are on this machine: the run directory, the cache, and what make has built."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from famlab_vm.errors import PrerequisiteMissing, UsageError

REPOSITORY = Path(__file__).resolve().parents[2]

# What installs the packages that labs need; several messages name it.
HOST_PACKAGES = "setup/host-packages.sh vm"

_LAB_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")
DEFAULT_LAB = "lab"
MAXIMUM_HOSTS = 8
# Seconds, ten years: within what the clock of a guest and its programs can show.
MAXIMUM_CLOCK_OFFSET = 10 * 365 * 86400
_HOST_NAME = re.compile(rf"host[0-{MAXIMUM_HOSTS - 1}]")

# A Unix socket address holds 107 bytes of path (sun_path). The longest one below a run directory
# is libvirt's monitor: LAB(24)/v/lib/qemu/domain-NNNN-NAME(20)/monitor.sock.
_SOCKET_PATH_BYTES = 107
# The directory of libvirt's driver in a lab's; short, so that /run/user/1000 is not too long.
DRIVER_DIRECTORY = "v"
_BELOW_RUN_DIRECTORY = len("/" + "l" * 24 + f"/{DRIVER_DIRECTORY}/lib/qemu/domain-9999-" + "n" * 20)
_BELOW_RUN_DIRECTORY += len("/monitor.sock")


def check_lab_name(name: str) -> str:
    """Return `name` if it can name a lab. Raises UsageError."""
    if not _LAB_NAME.fullmatch(name):
        raise UsageError(
            f"lab name: found {name!r}; allowed: a-z, 0-9 and -, at most 24, not starting with -"
        )
    return name


def hint(verb: str, lab: str, *words: str) -> str:
    """Return the command line that does `verb` to this lab and not to the default one."""
    named = [] if lab == DEFAULT_LAB else ["--name", lab]
    return f"`{' '.join(['famlab', verb, *named, *words])}`"


def check_host_count(count: int) -> int:
    """Return `count` if a lab can have so many hosts. Raises UsageError."""
    if not 1 <= count <= MAXIMUM_HOSTS:
        raise UsageError(f"hosts: found {count}; allowed: 1 to {MAXIMUM_HOSTS}")
    return count


def host_names(count: int) -> list[str]:
    """Return the names of the hosts of a lab of `count`."""
    return [f"host{index}" for index in range(count)]


def check_clock_offsets(offsets: Mapping[str, int], hosts: int) -> dict[str, int]:
    """Return `offsets`, seconds by host, if a lab of `hosts` can have them. Raises UsageError."""
    names = host_names(hosts)
    for host, seconds in offsets.items():
        if host not in names:
            raise UsageError(f"clock offset: found {host!r}; allowed: {', '.join(names)}")
        if abs(seconds) > MAXIMUM_CLOCK_OFFSET:
            raise UsageError(
                f"clock offset of {host}: found {seconds}; allowed: "
                f"-{MAXIMUM_CLOCK_OFFSET} to {MAXIMUM_CLOCK_OFFSET} seconds"
            )
    return dict(offsets)


def check_host_name(name: str) -> str:
    """Return `name` if it can name a host. Raises UsageError."""
    if not _HOST_NAME.fullmatch(name):
        raise UsageError(f"host: found {name!r}; allowed: host0 to host{MAXIMUM_HOSTS - 1}")
    return name


def run_directory() -> Path:
    """Return the directory of all labs' run files, created with mode 0700 if it is not there.

    FAMLAB_RUN, else /run/famlab (root), else XDG_RUNTIME_DIR/famlab or, if that is too long or
    not usable, /tmp/famlab-UID. Raises UsageError if it cannot be used safely.
    """
    longest = _SOCKET_PATH_BYTES - _BELOW_RUN_DIRECTORY
    if chosen := os.environ.get("FAMLAB_RUN"):
        path = Path(os.path.abspath(chosen))
    elif os.geteuid() == 0:
        # Not XDG_RUNTIME_DIR, which root has in some logins only and which ends with the last one.
        path = Path("/run/famlab")
    else:
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        path = Path(runtime) / "famlab"
        # su(1) keeps the variable of the user before.
        usable = path.is_absolute() and os.access(runtime, os.W_OK | os.X_OK)
        if not usable or len(os.fsencode(path)) > longest:
            path = Path(f"/tmp/famlab-{os.geteuid()}")  # its owner is checked below
    if len(os.fsencode(path)) > longest:
        raise UsageError(
            f"run directory: found {path} ({len(os.fsencode(path))} bytes); allowed: {longest} "
            "bytes, because Unix socket paths are short; set FAMLAB_RUN to a shorter path"
        )
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise UsageError(f"run directory {path}: {error.strerror}; set FAMLAB_RUN") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise UsageError(f"run directory {path}: not a directory of this user; set FAMLAB_RUN")
    if status.st_mode & 0o077:
        path.chmod(0o700)
    return path


def cache_directory() -> Path:
    """Return the cache that all clones share: FAMLAB_CACHE, else XDG_CACHE_HOME/famlab."""
    if chosen := os.environ.get("FAMLAB_CACHE"):
        return Path(os.path.abspath(chosen))
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "famlab"


@dataclass(frozen=True)
class Artifacts:
    """The files that guests are started from."""

    kernel: Path
    image: Path
    share: Path
    qemu: Path

    @classmethod
    def find(
        cls, kernel: str | None = None, qemu: str | None = None, share: str | None = None
    ) -> Artifacts:
        """Find them: arguments, else KERNEL, KERNEL_FLAVOR and QEMU, else what make has built.

        Paths are resolved, because the links in build/ may move to new cache entries while a lab
        runs. Raises PrerequisiteMissing with the make target that builds what is missing.
        """
        build = REPOSITORY / "build"
        flavor = os.environ.get("KERNEL_FLAVOR") or "default"
        link, target = "kernel", "make kernel"
        if flavor != "default":
            link, target = f"kernel-{flavor}", f"make kernel KERNEL_FLAVOR={flavor}"
        # With KASAN a vmlinux that is started directly resets the machine before it says a word.
        file = "bzImage" if flavor == "debug" else "vmlinux"
        kernel = kernel or os.environ.get("KERNEL") or str(build / link / file)
        qemu = qemu or os.environ.get("QEMU") or str(build / "qemu-system-x86_64")
        if "/" not in qemu:
            qemu = shutil.which(qemu) or qemu
        # What the caller may have named comes first, so that a mistake there is not hidden.
        artifacts = cls(
            kernel=_existing("kernel", kernel, target, "KERNEL"),
            qemu=_existing("QEMU", qemu, "make tree", "QEMU"),
            image=_existing("guest image", str(build / "image/root.erofs"), "make image", None),
            share=_existing("guest binaries", share or str(build / "guest"), "make guest", None),
        )
        if not os.access(artifacts.qemu, os.X_OK):
            raise PrerequisiteMissing(f"QEMU: {artifacts.qemu} is not executable")
        return artifacts


def _existing(what: str, path: str, target: str, variable: str | None) -> Path:
    try:
        return Path(path).resolve(strict=True)
    except (OSError, RuntimeError):
        other = f", or set {variable}=" if variable else ""
        raise PrerequisiteMissing(f"{what}: {path} is not there; run `{target}`{other}") from None


def kernel_with_symbols(kernel: Path) -> Path | None:
    """Return the vmlinux of a kernel: itself, or for a bzImage the one where make leaves it."""
    for path in (kernel, kernel.parent / "vmlinux", kernel.parent / "../../../vmlinux"):
        try:
            with path.open("rb") as stream:
                if stream.read(4) == b"\x7fELF":
                    return path.resolve()
        except OSError:
            continue
    return None
