# SPDX-License-Identifier: Apache-2.0
"""A libvirt connection with its event loop.

By default the QEMU driver runs inside this process (`qemu:///embed`): no daemon, no privilege.
Found out by trying, and relied on here:
- a process can open one embedded state directory only, until it ends, even after closing it;
- guests outlive the process, and opening the directory again re-attaches to them, if an event
  loop runs; until that is done (a thread per guest) destroying a guest races with it;
- the driver of a second process is refused (lock on run/qemu/driver.pid), hence LabLock.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import threading
import uuid as uuid_module
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from famlab_vm.account import guest_user
from famlab_vm.errors import PrerequisiteMissing
from famlab_vm.paths import HOST_PACKAGES, cache_directory, run_directory

try:
    import libvirt
except ImportError as missing:
    raise PrerequisiteMissing(
        f"libvirt's Python binding cannot be loaded ({missing}); "
        f"run `{HOST_PACKAGES}` (packages python3-libvirt, libvirt-daemon-driver-qemu)"
    ) from missing

# stdio_handler file: no virtlogd is needed. The next keep the driver from changing owners, labels,
# cgroups and name spaces, for which a container or a user has no rights.
_QEMU_CONF = """\
stdio_handler = "file"
security_driver = "none"
remember_owner = 0
dynamic_ownership = 0
cgroup_controllers = []
namespaces = []
"""
# QEMU starts as root, with the capability to become another user, and its arguments say which and
# with what sandbox (account.py).
_AS_ROOT = """\
user = "root"
group = "root"
clear_emulator_capabilities = 0
seccomp_sandbox = 0
"""

_EMBEDDED = "qemu:///embed?root="

EventListener = Callable[[str, int, int], None]

_loop_lock = threading.Lock()
_loop_running = False


def _run_event_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def _start_event_loop() -> None:
    """Start the event loop of this process, once; libvirt knows one loop per process."""
    global _loop_running
    with _loop_lock:
        if not _loop_running:
            libvirt.virEventRegisterDefaultImpl()
            libvirt.registerErrorHandler(lambda _context, _error: None, None)
            threading.Thread(target=_run_event_loop, name="libvirt-events", daemon=True).start()
            _loop_running = True


def _prepare_root(root: Path) -> None:
    """Write the driver's configuration and share its capability cache with all other labs."""
    (root / "etc").mkdir(mode=0o700, parents=True, exist_ok=True)
    (root / "log").mkdir(mode=0o700, exist_ok=True)
    (root / "etc" / "qemu.conf").write_text(_QEMU_CONF + (_AS_ROOT if guest_user() else ""))
    # Asking a QEMU binary for its capabilities takes seconds; libvirt keeps the answer here.
    cache = cache_directory() / "libvirt"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    link = root / "cache"
    if not link.is_symlink():
        link.symlink_to(cache)


def _remove_unused_root(root: Path) -> None:
    """Remove a driver's directory unless it has the state of a running guest."""
    if not any((root / "run" / "qemu").glob("*.xml")):
        shutil.rmtree(root, ignore_errors=True)


class Connection:
    """An open libvirt connection. Use as a context manager, or call close()."""

    def __init__(self, uri: str) -> None:
        """Open `uri`. Raises PrerequisiteMissing if libvirt cannot."""
        self.uri = uri
        self._listeners: dict[str, list[tuple[str, EventListener]]] = {}
        self._lock = threading.Lock()
        _start_event_loop()
        try:
            self.handle: Any = libvirt.open(uri)
        except libvirt.libvirtError as error:
            raise PrerequisiteMissing(f"libvirt cannot open {uri}: {error}") from error
        self._callbacks = [
            self.handle.domainEventRegisterAny(
                None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_event, "lifecycle"
            ),
            self.handle.domainEventRegisterAny(
                None, libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, self._on_event, "agent"
            ),
        ]

    @classmethod
    def embedded(cls, root: Path | None = None) -> Connection:
        """Open the driver inside this process with its state below `root`.

        Without `root`: a directory of this process below the run directory, removed at its end if
        no guest is left. A process can use one root only, until it ends.
        """
        if root is None:
            root = run_directory() / f"libvirt-{os.getpid()}"
        if root.parent == run_directory():
            atexit.register(_remove_unused_root, root)
        _prepare_root(root)
        return cls(embedded_uri(root))

    @classmethod
    def open(cls, uri: str) -> Connection:
        """Open any libvirt URI, embedded drivers included."""
        if uri.startswith(_EMBEDDED):
            return cls.embedded(Path(uri.removeprefix(_EMBEDDED)))
        return cls(uri)

    def listen(self, domain_uuid: str, kind: str, listener: EventListener) -> None:
        """Call `listener(kind, event, detail)` from the event thread for each event of a domain.

        `kind` is lifecycle (libvirt's VIR_DOMAIN_EVENT_*) or agent (state, reason).
        """
        with self._lock:
            self._listeners.setdefault(domain_uuid, []).append((kind, listener))

    def ignore(self, domain_uuid: str) -> None:
        """Forget all listeners of a domain."""
        with self._lock:
            self._listeners.pop(domain_uuid, None)

    def _on_event(self, _handle: Any, domain: Any, event: int, detail: int, kind: str) -> None:
        with self._lock:
            listeners = list(self._listeners.get(domain.UUIDString(), []))
        for wanted, listener in listeners:
            if wanted == kind:
                listener(kind, event, detail)

    def find(self, domain_uuid: str) -> Any | None:
        """Return libvirt's domain object for a running guest, or None.

        Waits until libvirt has re-attached to it.
        """
        try:
            domain = self.handle.lookupByUUID(uuid_module.UUID(domain_uuid).bytes)
            # Takes the guest's job, which the thread that re-attaches holds until it is done.
            domain.memoryStats()
        except libvirt.libvirtError:
            return None
        return domain

    def forget(self, domain_uuid: str) -> None:
        """Make sure that libvirt no longer knows a guest, whose QEMU is dead or may be killed."""
        domain = self.find(domain_uuid)
        if domain is not None:
            with contextlib.suppress(libvirt.libvirtError):  # it noticed by itself meanwhile
                domain.destroy()

    def embedded_root(self) -> Path | None:
        """Return the state directory of the embedded driver, or None for other URIs."""
        if not self.uri.startswith(_EMBEDDED):
            return None
        return Path(self.uri.removeprefix(_EMBEDDED))

    def close(self) -> None:
        """Close the connection. Guests run on."""
        for callback in self._callbacks:
            self.handle.domainEventDeregisterAny(callback)
        self._callbacks = []
        self.handle.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def embedded_uri(root: Path) -> str:
    """Return the URI of the embedded driver with its state below `root`."""
    return f"{_EMBEDDED}{root}"
