# SPDX-License-Identifier: Apache-2.0
"""What the mapping suite uses: the program that maps files, and the kernel's counters."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from famfs_verbs import MEBI, Famfs
from support import features, guest, programs
from support.machine import Outcome
from support.skips import missing_feature
from vm.cluster import Cluster
from vm.host import LabHost
from vm.labs import TestLab
from vm.standing import Standing

# The methods of the kernel, and the one that needs nothing of it.
METHODS = ("extent-map", "fmap")
DAEMON_SERVED = "daemon-served"
ALL_METHODS = (*METHODS, DAEMON_SERVED)
# With FAMFS_BIN also the one that it takes by itself, whatever its name.
OWN_CHOICE = "own-choice"
STATISTICS = "/sys/kernel/debug/fuse_dax/stats"

# The two kinds of file, as `famfs creat` and `famfs cp` make them.
KINDS: dict[str, tuple[str, ...]] = {
    "contiguous": (),
    "interleaved": ("--nstrips", "3", "--nbuckets", "4", "--chunksize", "2M"),
}


# For a test of both.
on_both_kinds = pytest.mark.parametrize("kind", list(KINDS))


class Probe:
    """The program that maps files (tests/guest/mapprobe) on one host."""

    def __init__(self, host: LabHost) -> None:
        self.host = host
        self._program = guest.program("mapprobe")

    def run(self, *words: object, check: bool = True, timeout: float = 300) -> Outcome:
        return self.host.run([self._program, *map(str, words)], check=check, timeout=timeout)

    def ask(self, name: str, *words: object) -> str:
        """What the process that holds a file answers."""
        return self.run("ask", f"/run/{name}.sock", *words).stdout.decode().strip()

    def hold(self, name: str, path: str, *, touch: bool = False) -> Held:
        """A process that has the file open and mapped, and touched every page if asked to."""
        self.run("hold", f"/run/{name}.sock", path, *(["touch"] if touch else []))
        return Held(self, name)


class Held:
    """A file that a process of a guest holds mapped. As a context it ends with the block."""

    def __init__(self, probe: Probe, name: str) -> None:
        self.probe, self.name = probe, name

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.probe.run("ask", f"/run/{self.name}.sock", "end", check=False)

    def ask(self, *words: object) -> str:
        return self.probe.ask(self.name, *words)


# What this session's kernel has, by method; all hosts of all labs boot the same one.
_offered: dict[str, bool] = {}


def offers(host: LabHost, device: str, method: str) -> bool:
    """Whether the kernel has the method: tried on the device, which is made anew for it."""
    if method == OWN_CHOICE:
        return True
    if not features.has(host.ask, "mount", "-o"):
        missing_feature("mapping methods by name", "`famfs mount` has no option -o")
    if method not in _offered:
        # --set-daxmode: the question is about the kernel, whatever driver has the device.
        host.run(["mkfs.famfs", "--force", "--set-daxmode", device])
        host.ensure_directory("/mnt/offers")
        words = ["famfs", "mount", "--set-daxmode", "-o", f"method={method}", device, "/mnt/offers"]
        tried = host.run(words, check=False)
        if tried.returncode == 0:
            host.run(["famfs", "umount", "/mnt/offers"])
        else:
            assert tried.returncode == errno.EOPNOTSUPP, tried.text
            assert "the kernel does not offer" in tried.text or "cannot map files" in tried.text
        _offered[method] = tried.returncode == 0
    return _offered[method]


def require_method(host: LabHost, device: str, method: str = "") -> None:
    """Skips where the kernel does not have the method, or has none if no name is given."""
    wanted = (method,) if method else METHODS
    if not any(offers(host, device, name) for name in wanted):
        missing_feature("mapping methods", f"this kernel does not offer {' or '.join(wanted)}")


def name_of_method(method: str) -> str:
    """The name, where a test is about that; skips if the method is not known by one."""
    if method == OWN_CHOICE:
        missing_feature("mapping methods by name", "the mount was not told which to take")
    return method


def prepared(lab: TestLab, method: str) -> Cluster:
    """famfs on the first device, of which every mount will be by a method; empty: by the best."""
    device = lab.devices()[0].path
    cluster = Cluster(lab, device)
    if not method:
        if lab.shape.dax == "fsdev_dax" and not programs.FOREIGN:
            require_method(lab.hosts[0], device)
        return cluster
    require_method(lab.hosts[0], device, method)
    # The daemon serves files only over the other driver, which is lent for the mount.
    driver = ("--set-daxmode",) if method == DAEMON_SERVED else ()
    forced = () if method == OWN_CHOICE else ("-o", f"method={method}")
    for famfs in cluster.all:
        famfs.mkfs_options = driver
        famfs.mount_options = (*driver, *forced)
    return cluster


def standing(lab: TestLab, method: str) -> Cluster:
    """A directory of its own on the famfs that stays mounted on the lab by a method."""
    found = lab.standing
    if isinstance(found, Standing) and found.method == method:
        if cluster := found.for_a_test():
            return cluster
    lab.stand_down()
    fresh = Standing(prepared(lab, method).make_and_mount(), method)
    lab.standing = fresh
    cluster = fresh.for_a_test()
    assert cluster is not None, "a famfs that was just made is more than half full"
    return cluster


@contextmanager
def of_its_own(lab: TestLab, method: str) -> Iterator[Cluster]:
    """A fresh famfs that is unmounted at the end, in whatever state it is."""
    cluster = prepared(lab, method)
    cluster.make_and_mount()
    yield cluster
    cluster.umount_all()


def counters(host: LabHost) -> dict[str, int]:
    """The kernel's counters since boot."""
    if programs.FOREIGN and host.run(["test", "-e", STATISTICS], check=False).returncode != 0:
        missing_feature("counters of mappings", f"the kernel has no {STATISTICS}")
    lines = host.run(["cat", STATISTICS]).stdout.decode().splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


def kill_daemon(host: Famfs) -> None:
    """Kills it, and returns when it is gone."""
    host.run("pkill", f"-{int(signal.SIGKILL)}", "-x", programs.daemon())
    wait_for_daemon(host)


def wait_for_daemon(host: Famfs) -> None:
    """Returns when it has ended."""
    wait = 'while pgrep -x "$1" >/dev/null; do sleep 0.1; done'
    host.run("sh", "-c", wait, "sh", programs.daemon())


def make(master: Famfs, name: str, size: int, kind: str) -> None:
    master.creat(name, size, *KINDS[kind])


ODD_SIZE = 9 * MEBI + 123
