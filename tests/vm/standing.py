# SPDX-License-Identifier: Apache-2.0
"""A famfs that stays mounted on a lab from test to test; each test has a directory of its own."""

from __future__ import annotations

from vm.cluster import Cluster

# Makes the directory $1, and prints how many blocks of the file system $2 are free, and all.
_MAKE = 'famfs mkdir "$1" && stat -f -c "%a %b" "$2"'


class Standing:
    """One mounting on all hosts of a lab, by one method."""

    def __init__(self, cluster: Cluster, method: str) -> None:
        self.method = method
        self._cluster = cluster
        self._directories = 0

    def for_a_test(self) -> Cluster | None:
        """The file system as a fresh directory of it; None if less than half of it is free, as no
        file is ever removed from a famfs.
        """
        self._directories += 1
        directory = f"t{self._directories}"
        master = self._cluster.master
        words = ["sh", "-c", _MAKE, "sh", master.path(directory), master.mount_point]
        free, whole = map(int, master.run(*words).stdout.split()[-2:])
        return self._cluster.below(directory) if 2 * free > whole else None

    def umount_all(self) -> None:
        self._cluster.umount_all()
