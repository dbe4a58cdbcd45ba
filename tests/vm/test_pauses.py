# SPDX-License-Identifier: Apache-2.0
"""Contract: a host that stood still and goes on, while nobody took its place, has missed nothing
and harms nothing; the others wait for nothing.
"""

from __future__ import annotations

import pytest
from famfs_verbs import Famfs, random_bytes, sha256
from vm.cluster import Cluster
from vm.running import Running
from vm.shapes import Shape

pytestmark = [
    pytest.mark.shapes(hosts=(2,), fewest=2, dax=("device_dax", "fsdev_dax")),
    pytest.mark.own_mount,
]

CONTENT = random_bytes(200_001, 1)
READS, FILES = 100, 12
READ = 'for i in $(seq "$2"); do cat "$1" >/dev/null || exit 1; echo "read $i"; done'
CREATE = (
    'for i in $(seq "$2"); do famfs creat -r -S "$i" -s 70001 "$1/$i" || exit 1; '
    'echo "made $i"; done'
)


def verify(famfs: Famfs, count: int) -> None:
    """The first files that CREATE makes are whole."""
    words = [word for i in range(1, count + 1) for word in ("--multi", f"{famfs.path(str(i))},{i}")]
    famfs.famfs("verify", *words)


def test_client_is_paused_while_it_reads(cluster: Cluster, shape: Shape) -> None:
    """The master makes files meanwhile; back, the client reads on and has them all."""
    cluster.require_following()
    master, client = cluster.all[:2]
    host = cluster.host(client)
    master.put("read", CONTENT)
    words = ["sh", "-c", READ, "sh", client.path("read"), str(READS)]
    with Running(host, words) as reads:
        reads.wait_for("read", 2)
        host.pause()
        for number in range(3):
            master.put(f"meanwhile-{number}", CONTENT)
        assert len(reads.lines) < READS, "it had read all before it was paused"
        host.resume()
        assert reads.end() == 0, str(reads)
    names = ["read", *(f"meanwhile-{number}" for number in range(3))]
    assert client.sha256() == dict.fromkeys(names, sha256(CONTENT))
    client.fsck()


def test_master_is_paused_while_it_creates(cluster: Cluster, shape: Shape) -> None:
    """The client reads and checks meanwhile; back, the master makes the rest, and all are whole."""
    cluster.require_following()
    master, client = cluster.all[:2]
    host = cluster.host(master)
    words = ["sh", "-c", CREATE, "sh", master.path(), str(FILES)]
    with Running(host, words) as creates:
        creates.wait_for("made", 3)
        host.pause()
        made = sum(line.startswith("made ") for line in creates.lines)
        assert made < FILES, "it had made all before it was paused"
        client.fsck()
        verify(client, made)
        host.resume()
        assert creates.end() == 0, str(creates)
    assert sorted(client.tree()) == sorted(map(str, range(1, FILES + 1)))
    verify(client, FILES)
    assert client.sha256() == master.sha256()
    for famfs in (master, client):
        famfs.fsck()
