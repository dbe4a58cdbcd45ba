# SPDX-License-Identifier: Apache-2.0
"""Contract: mappings outlive what they can outlive (a lazy unmount, the daemon's death), keep the
mount busy, and never show memory that is no longer their file's.
"""

from __future__ import annotations

import errno

import pytest
from famfs_verbs import MEBI, random_bytes
from support.evidence import observer
from vm.cluster import Cluster
from vm.mapping import Held, Probe, kill_daemon, make, wait_for_daemon
from vm.shapes import Shape

pytestmark = [pytest.mark.shapes(dax=("fsdev_dax",)), pytest.mark.own_mount]

EXIT_UMOUNT_FAILED = 32
BUS_ADRERR = 2
FORMATTED = "formatted anew"


def wait_for(held: Held, words: tuple[object, ...], wanted: str, tries: int = 100) -> None:
    """Asks until the answer is there: another host's store raises no event."""
    for _ in range(tries):
        if (answer := held.ask(*words)) == wanted:
            return
        held.probe.host.run(["sleep", "0.2"])
    raise AssertionError(f"{words}: {answer}, not {wanted}")


@pytest.mark.expects_daemon_errors(FORMATTED)
def test_a_remade_file_system_shows_no_old_memory(
    mapped: Cluster, probes: list[Probe], shape: Shape
) -> None:
    """Another host makes the file system anew: mapped pages, touched or not, give SIGBUS, read and
    mmap ESTALE, a new open fails; mounted again the host has the new files' bytes."""
    master, client = mapped.all[:2]
    make(master, "file", 8 * MEBI, "contiguous")
    probes[0].run("store", master.path("file"), 0, 8 * MEBI, 1)
    with probes[1].hold("held", client.path("file")) as held:
        held.ask("load", 0)
        master.umount()
        master.mkfs()
        master.mount()
        content = random_bytes(8 * MEBI, 2)
        master.put("file", content)
        wait_for(held, ("load", 0), f"sigbus {BUS_ADRERR}")
        assert held.ask("load", 5 * MEBI) == f"sigbus {BUS_ADRERR}"
        assert held.ask("store", 5 * MEBI) == f"sigbus {BUS_ADRERR}"
        assert held.ask("read", 0) == f"errno {errno.ESTALE}"
        assert held.ask("write", 0) == f"errno {errno.ESTALE}"
        assert held.ask("map") == f"errno {errno.ESTALE}"
        assert client.run("cat", client.path("file"), check=False).returncode != 0
    assert master.read("file") == content  # the old mapping stored nothing
    client.umount()
    client.mount()
    assert client.read("file") == content


@pytest.mark.expects_daemon_errors(FORMATTED)
def test_a_file_gets_the_map_of_the_new_file_system(
    mapped: Cluster, probes: list[Probe], shape: Shape
) -> None:
    """The same name at another place after mkfs: no byte of the old place is read."""
    master, client = mapped.all[:2]
    master.put("file", random_bytes(4 * MEBI, 1))
    assert client.read("file") == random_bytes(4 * MEBI, 1)
    mapped.umount_all()
    master.mkfs()
    master.mount()
    client.mount()
    make(master, "other", 6 * MEBI, "interleaved")
    master.put("file", random_bytes(4 * MEBI, 3))
    for host in (master, client):
        assert host.read("file") == random_bytes(4 * MEBI, 3)


def test_a_mapping_keeps_the_mount_busy(mapped: Cluster, probes: list[Probe], shape: Shape) -> None:
    """umount says EBUSY while a file is mapped, and works once it is not."""
    host = mapped.clients[0]
    make(mapped.master, "file", 4 * MEBI, "contiguous")
    with probes[1].hold("held", host.path("file")) as held:
        refused = host.run("umount", host.mount_point, check=False)
        assert refused.returncode == EXIT_UMOUNT_FAILED and "busy" in refused.text
        assert held.ask("load", 0).isdigit()
    host.famfs("umount", host.mount_point)


def test_a_lazy_unmount_leaves_the_mapping(
    mapped: Cluster, probes: list[Probe], shape: Shape
) -> None:
    """The mount is gone, the mapping works, also in pages not touched before; the daemon ends with
    the mapping, and the device can be mounted again."""
    host = mapped.clients[0]
    make(mapped.master, "file", 4 * MEBI, "contiguous")
    probes[0].run("store", mapped.master.path("file"), 0, 4 * MEBI, 1)
    with probes[1].hold("held", host.path("file")) as held:
        observer.collect_from(host.machine)
        host.famfs("umount", "--lazy", host.mount_point)
        assert held.ask("load", 3 * MEBI).isdigit()
        assert held.ask("store", 2 * MEBI).isdigit()
        assert held.ask("read", MEBI).isdigit()
    wait_for_daemon(host)
    host.mount()
    probes[1].run("load", host.path("file"), 0, 4 * MEBI, 1)


def test_a_killed_daemon_leaves_the_mapping(
    mapped: Cluster, probes: list[Probe], shape: Shape
) -> None:
    """Mapped memory stays, touched or not; opens fail with ENOTCONN; after famfs umount and mount
    the file is there with its bytes."""
    host = mapped.clients[0]
    make(mapped.master, "file", 4 * MEBI, "interleaved")
    probes[0].run("store", mapped.master.path("file"), 0, 4 * MEBI, 1)
    with probes[1].hold("held", host.path("file")) as held:
        held.ask("load", 0)
        observer.collect_from(host.machine)
        kill_daemon(host)
        assert held.ask("load", 3 * MEBI).isdigit()
        assert held.ask("store", 3 * MEBI).isdigit()
        refused = host.run("cat", host.path("file"), check=False)
        assert refused.returncode != 0 and "not connected" in refused.text
    host.famfs("umount", host.mount_point)
    host.mount()
    probes[1].run("load", host.path("file"), 0, 4 * MEBI, 1)


UPGRADE = """
pid=$(pgrep -x famfsd) || exit 1
log=$(getfattr --only-values -n user.famfs.shadow "$1")/famfsd.log
kill -USR2 "$pid"
for _ in $(seq 600); do
    grep -q "goes on with" "$log" && [ "$(pgrep -x famfsd)" = "$pid" ] && exit
    sleep 0.1
done
cat "$log" >&2
exit 1
"""


def test_an_upgraded_daemon_leaves_the_mapping(
    mapped: Cluster, probes: list[Probe], shape: Shape
) -> None:
    """On both hosts the daemon makes way for another under a live mapping: a store of one is a load
    of the other, open files and new ones have their maps, and the master makes files."""
    master, host = mapped.master, mapped.clients[0]
    for name in ("file", "other"):
        make(master, name, 4 * MEBI, "interleaved")
    with (
        probes[0].hold("held", master.path("file")) as here,
        probes[1].hold("held", host.path("file")) as there,
    ):
        there.ask("load", 0)
        for famfs in (master, host):
            observer.collect_from(famfs.machine)
            famfs.run("sh", "-c", UPGRADE, "sh", famfs.mount_point)
        wait_for(there, ("load", 0), here.ask("load", 0))
        assert here.ask("store", 3 * MEBI).isdigit()
        assert there.ask("read", 3 * MEBI).isdigit()
    probes[0].run("store", master.path("file"), 0, 4 * MEBI, 1)
    probes[1].run("load", host.path("file"), 0, 4 * MEBI, 1)
    content = random_bytes(3 * MEBI, 4)
    master.put("new", content)
    assert host.read("new") == content
    host.overwrite("other", MEBI, content)
    assert master.read("other", MEBI, 3 * MEBI) == content


def test_a_killed_master_mounts_again_beside_a_live_mapping(
    mapped: Cluster, probes: list[Probe], shape: Shape
) -> None:
    """While a process still maps a file of the dead mount, that file cannot be opened in the new
    one (EBUSY); every other can, and it too once the process has let go."""
    master = mapped.master
    for name in ("file", "other"):
        make(master, name, 4 * MEBI, "contiguous")
    with probes[0].hold("held", master.path("file")) as held:
        observer.collect_from(master.machine)
        kill_daemon(master)
        master.famfs("umount", "--lazy", master.mount_point)
        master.mount()
        assert held.ask("load", MEBI).isdigit()
        assert "busy" in master.run("cat", master.path("file"), check=False).text
        master.read("other")
    master.read("file")
