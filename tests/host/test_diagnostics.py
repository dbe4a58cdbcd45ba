# SPDX-License-Identifier: Apache-2.0
"""Contract: a mount says what it is and does: by extended attributes to whoever can read a file,
and by HTTP on the socket that an attribute names, on the paths that famfs users know.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
from famfs_verbs import MEBI, Famfs
from host.cluster import DEVICE_SIZE, Cluster

OF_MOUNT = ["user.famfs.shadow", "user.famfs.devices", "user.famfs.position"]
OF_FILE = [*OF_MOUNT, "user.famfs.map", "user.famfs.extents"]


@pytest.fixture
def backend() -> str:
    return "plain"


def xattr(host: Famfs, relative: str, name: str) -> object:
    return json.loads(os.getxattr(host.path(relative), f"user.famfs.{name}"))


def test_attributes_tell_map_extents_and_position(master: Famfs, client: Famfs) -> None:
    """On both hosts the same map and extents, which getmap prints too; directories have none."""
    master.creat("file", 5 * MEBI)
    striped = ("--nstrips", "3", "--nbuckets", "4", "--chunksize", "2M")
    master.creat("striped", 9 * MEBI, *striped)
    master.mkdir("d")
    for host in (master, client):
        assert os.listxattr(host.path("file")) == OF_FILE
        assert os.listxattr(host.path("d")) == os.listxattr(host.path()) == OF_MOUNT
        assert xattr(host, "file", "map") == {
            "size": 5 * MEBI,
            "method": "daemon-served",
            "layout": "contiguous",
            "extents": 1,
        }
        shown = xattr(host, "striped", "map")
        assert isinstance(shown, dict)
        assert (shown["layout"], shown["strips"], shown["chunk_size"]) == (
            "interleaved",
            3,
            2 * MEBI,
        )
        extents = xattr(host, "striped", "extents")
        assert isinstance(extents, list) and len(extents) == 3
        printed = host.famfs("getmap", host.path("striped")).text
        for extent in extents:
            assert f"offset: {extent['offset']:#x} len: {extent['length']:#x}" in printed
        position = xattr(host, "d", "position")
        assert position == {"played": 3, "announced": 3, "capacity": 15420}
        assert xattr(host, "", "devices") == [
            {"index": 0, "name": host.device, "size": DEVICE_SIZE, "state": "current"}
        ]
        with pytest.raises(OSError) as caught:
            os.getxattr(host.path("d"), "user.famfs.map")
        assert caught.value.errno == errno.ENODATA


@pytest.mark.expects_daemon_errors("formatted anew")
def test_a_replaced_file_system_is_told(cluster: Cluster) -> None:
    """The device's state, when another mkfs has taken it; where files answer only ESTALE."""
    other = cluster.add("other")
    cluster.master.umount()
    other.mkfs()
    assert not cluster.client.exists("missing")
    [device] = json.loads(cluster.machine(cluster.client).control("/status"))["devices"]
    assert device["state"] == "replaced"


def curl(host: Famfs, path: str, *options: str) -> tuple[str, str]:
    """Status code and body, from the socket that the mount itself names."""
    directory = os.getxattr(host.mount_point, "user.famfs.shadow").decode()
    command = ["curl", "--silent", "--unix-socket", f"{directory}/sock", "-w", "\n%{http_code}"]
    done = subprocess.run(
        [*command, *options, f"http://localhost{path}"], capture_output=True, text=True, check=True
    )
    body, _, code = done.stdout.rpartition("\n")
    return code, body


def test_the_socket_answers_the_paths_of_the_reference(cluster: Cluster) -> None:
    """Those and no others; levels from 0 to 7; nobody else may connect."""
    host = cluster.master
    directory = Path(os.getxattr(host.mount_point, "user.famfs.shadow").decode())
    mode = stat.S_IMODE((directory / "sock").stat().st_mode)
    assert mode & 0o117 == 0
    code, pid = curl(host, "/pid")
    assert code == "200" and Path(f"/proc/{int(pid)}/comm").read_text() == "famfsd\n"
    assert curl(host, "/icache_stats")[0] == curl(host, "/icache_dump")[0] == "200"
    for method, level in (("POST", "7"), ("PUT", "3"), ("PUT", "6")):
        assert curl(host, "/log_level", "-X", method, "-d", level)[0] == "200"
        assert curl(host, "/log_level") == ("200", f"{level}\n")
    assert curl(host, "/log_level", "-X", "PUT", "-d", "8")[0] == "400"
    for path in ("/", "/inodes", "/pid/x", "/etc/passwd"):
        assert curl(host, path)[0] == "404"
    assert curl(host, "/pid", "-X", "POST", "-d", "1")[0] == "404"
    assert "node 1 parent 1 directory" in (directory / "famfsd.log").read_text()


def test_status_tells_position_lag_method_and_devices(master: Famfs, client: Famfs) -> None:
    """JSON; what the master has announced is known before the client has read it."""
    master.creat("file", 4096)
    for host, role in ((master, "master"), (client, "client")):
        status = json.loads(curl(host, "/status")[1])
        assert status["role"] == role and status["method"] == "daemon-served"
        assert status["devices"] == xattr(host, "", "devices")
        assert status["log"]["announced"] == 1
        assert status["log"]["lag"] == 1 - status["log"]["position"]
        assert {"lines_invalidated", "lines_written_back", "fences"} <= set(status["memory"])
    assert client.exists("file")
    log = json.loads(curl(client, "/status")[1])["log"]
    assert (log["position"], log["announced"], log["lag"]) == (1, 1, 0)
