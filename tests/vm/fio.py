# SPDX-License-Identifier: Apache-2.0
"""fio writes files and verifies them, on the host that wrote and on another."""

from __future__ import annotations

from famfs_verbs import MEBI
from support import selection
from vm.cluster import Cluster
from vm.mapping import make

SIZE = selection.amount(8, 3) * MEBI
# How much of it is written, at random places.
WRITTEN = selection.amount(8, 1) * MEBI
_FIO = [
    "fio", "--name=verify", "--rw=randwrite", "--verify=crc32c", "--verify_fatal=1",
    "--randseed=7", "--fallocate=none", "--invalidate=0",
]  # fmt: skip


def verify(cluster: Cluster, name: str, kind: str, *words: str, jobs: int = 1) -> None:
    """fio writes a file on the master and verifies it there, then on a client; of several jobs each
    has a part of the file.
    """
    make(cluster.master, name, SIZE, kind)
    part = SIZE // jobs
    parts = [f"--size={part}", f"--offset_increment={part}", f"--numjobs={jobs}",
             f"--io_size={WRITTEN // jobs}"]  # fmt: skip
    # Without threads, processes: each opens the file by itself.
    threads = ["--thread"] if jobs == 1 else []
    fio = [*_FIO, *threads, *parts, *words, f"--filename={cluster.master.path(name)}"]
    first, second = cluster.lab.hosts[:2]
    first.run(fio, timeout=300)
    cluster.master.flush(name)
    second.run([*fio, "--verify_only"], timeout=300)
