# SPDX-License-Identifier: Apache-2.0
"""famfs on the hosts of a lab."""

from __future__ import annotations

from famfs_verbs import Famfs
from vm.labs import LabHost, TestLab, together

MOUNT_POINT = "/mnt/famfs"


class Cluster:
    """famfs on one shared device, mounted on all hosts of a lab; host0 is the master."""

    def __init__(self, lab: TestLab, device: str, mount_point: str = MOUNT_POINT) -> None:
        self.lab = lab
        self.all = [Famfs(host, device, mount_point) for host in lab.hosts]
        for host in lab.hosts:
            host.run(["mkdir", "-p", mount_point])

    @property
    def master(self) -> Famfs:
        return self.all[0]

    @property
    def clients(self) -> list[Famfs]:
        return self.all[1:]

    def host(self, famfs: Famfs) -> LabHost:
        return self.lab.hosts[self.all.index(famfs)]

    def make_and_mount(self) -> Cluster:
        self.master.mkfs()
        together(Famfs.mount, self.all)
        return self

    def umount_all(self) -> None:
        """Unmounts wherever something is mounted; a host that is down has nothing."""
        for famfs, host in zip(self.all, self.lab.hosts):
            if host.is_well():
                # The kernel's own list: a mount whose daemon is gone cannot be asked.
                words = ["grep", "-q", f" {famfs.mount_point} ", "/proc/mounts"]
                if famfs.run(*words, check=False).returncode == 0:
                    famfs.umount()
