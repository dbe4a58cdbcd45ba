# SPDX-License-Identifier: Apache-2.0
"""famfs on the hosts of a lab."""

from __future__ import annotations

from famfs_verbs import Famfs
from support.programs import FOREIGN
from support.skips import missing_feature
from vm.host import LabHost, State
from vm.labs import TestLab, together

MOUNT_POINT = "/mnt/famfs"
# A host's identity, on it.
UUID_FILE = "/opt/famfs/system_uuid"
# How long a client that follows the log by itself may take to learn of a new file.
_PATIENCE_OF_CLIENTS = 5

# Whether clients of the famfs under test follow the log by themselves, once it is known.
_follows: list[bool] = [] if FOREIGN else [True]


class Cluster:
    """famfs on one shared device, mounted on all hosts of a lab; host0 is the master."""

    def __init__(self, lab: TestLab, device: str, mount_point: str = MOUNT_POINT) -> None:
        self.lab = lab
        self.all = [Famfs(host, device, mount_point) for host in lab.hosts]
        for host in lab.hosts:
            host.ensure_directory(mount_point)

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
        if not _follows and self.clients:
            _follows.append(self._clients_follow())
            self.umount_all()
            return self.make_and_mount()
        for famfs in self.clients:
            famfs.plays_log = not _follows[0]
        return self

    def _clients_follow(self) -> bool:
        self.master.mkdir("probe")
        path = self.clients[0].path("probe")
        look = 'i=0; until [ -d "$1" ]; do [ $((i+=1)) -le "$2" ] || exit 1; sleep 0.1; done'
        words = ("sh", "-c", look, "sh", path, str(10 * _PATIENCE_OF_CLIENTS))
        return self.clients[0].run(*words, check=False).returncode == 0

    def require_following(self) -> None:
        """Skips a test that looks at a client while the master goes on."""
        if self.clients and self.clients[0].plays_log:
            missing_feature("following the log", "a client needs famfs logplay to see a new file")

    def restart(self, famfs: Famfs) -> None:
        """Boots a host, whatever its state, and mounts on it."""
        host = self.host(famfs)
        self.lab.restart(host)
        host.ensure_directory(famfs.mount_point)
        famfs.mount()

    def umount_all(self) -> None:
        """Unmounts wherever something is mounted; a host that is down has nothing."""
        together(self._umount, self.all)

    def _umount(self, famfs: Famfs) -> None:
        if self.host(famfs).state is State.RUNNING:
            famfs.umount_if_mounted()

    def below(self, directory: str) -> Cluster:
        """The same mounts, on which a directory of the file system is the place of all names."""
        view = Cluster.__new__(Cluster)
        view.lab = self.lab
        view.all = [famfs.below(directory) for famfs in self.all]
        return view
