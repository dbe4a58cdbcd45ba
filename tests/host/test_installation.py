# SPDX-License-Identifier: Apache-2.0
"""Contract: what is installed beside the programs works: mount(8) and /etc/fstab mount a famfs by
its type, the log arrives in the system's log, completion and manual pages know what programs know.
"""

from __future__ import annotations

import gzip
import shlex
import socket
import subprocess
from pathlib import Path

import pytest
from famfs_verbs import Famfs
from host.cluster import Cluster
from support import paths
from support.machine import LocalHost

PACKAGING = paths.TESTS.parent / "daemon" / "packaging"


@pytest.fixture
def backend() -> str:
    return "plain"


# A mount name space where mount(8) finds mount.famfs, as if installed, and /dev/log is $log.
# All of it is on a file system that ends with the name space.
SYSTEM = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$system"
mkdir "$system/sbin" "$system/old" "$system/dev"
mount --bind "$(readlink -f /sbin)" "$system/old"
mount -o remount,bind,ro "$system/old"
ln -s "$system"/old/* "$system/sbin"
ln -sf "$(command -v mount.famfs)" "$system/sbin/mount.famfs"
mount --bind "$system/sbin" "$(readlink -f /sbin)"
for node in null fuse; do
    touch "$system/dev/$node"
    mount --bind "/dev/$node" "$system/dev/$node"
done
if [ -n "${log:-}" ]; then ln -s "$log" "$system/dev/log"; fi
mount --rbind "$system/dev" /dev
trap 'if mountpoint -q "$mnt"; then famfs umount "$mnt"; fi' EXIT
"""


def in_system(
    host: Famfs, directory: Path, script: str, log: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs a shell script there, with $dev and $mnt."""
    machine = host.machine
    assert isinstance(machine, LocalHost)
    variables = {"dev": host.device, "mnt": host.mount_point, "log": log}
    system = directory / "system"
    system.mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", SYSTEM + script],
        env=machine.environment | variables | {"system": str(system)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    system.rmdir()
    return done


def test_mount_by_type(hosts: Cluster, directory: Path) -> None:
    """mount -t famfs with the options that people write; what has no meaning is ignored."""
    hosts.master.mkfs()
    done = in_system(
        hosts.master,
        directory,
        """
        mount -t famfs -o noatime,nofail,x-systemd.automount,timeout=5 "$dev" "$mnt"
        findmnt -no SOURCE,FSTYPE "$mnt"
        famfs mkdir "$mnt/d"
        umount "$mnt"
        mount -t famfs -o ro "$dev" "$mnt"
        findmnt -no OPTIONS "$mnt"
        ls "$mnt"
        mkdir "$mnt/e" || echo refused
        """,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert f"{hosts.master.device} fuse.famfs" in lines
    assert any(line.startswith("ro,") for line in lines)
    assert lines[-2:] == ["d", "refused"]


def test_mount_from_fstab(hosts: Cluster, directory: Path) -> None:
    """A line of fstab(5): mounted by its mount point, by -a, and left alone with noauto."""
    hosts.master.mkfs()
    done = in_system(
        hosts.master,
        directory,
        """
        echo "$dev $mnt famfs noauto,user,defaults 0 0" >"$system/fstab"
        mount -T "$system/fstab" -a
        ! mountpoint -q "$mnt"
        mount -T "$system/fstab" "$mnt"
        mountpoint "$mnt"
        umount "$mnt"
        echo "$dev $mnt famfs defaults,nofail,_netdev 0 0" >"$system/fstab"
        mount -T "$system/fstab" -a
        mount -T "$system/fstab" -a
        findmnt -no SOURCE "$mnt"
        """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1:] == [hosts.master.device]


REFUSED = {
    "unknown option": ("-o bogus", 1, "bogus"),
    "remount": ("-o remount", 1, "unmount it"),
    "no such device": ("-o ro", 32, "No such file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_mount_says_why_not(hosts: Cluster, name: str) -> None:
    """The exit codes that mount(8) documents, and the reason."""
    options, code, reason = REFUSED[name]
    hosts.master.mkfs()
    device = "/dev/missing" if name == "no such device" else hosts.master.device
    command = ["mount.famfs", device, hosts.master.mount_point, *shlex.split(options)]
    done = hosts.master.run(*command, check=False)
    assert done.returncode == code
    assert reason in done.text
    assert not Path(hosts.master.mount_point).is_mount()


def test_the_log_is_in_the_system_log(hosts: Cluster, directory: Path) -> None:
    """What the daemon logs goes to /dev/log as well, as its level, set at run time, allows."""
    hosts.master.mkfs()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(directory / "log"))
        log.settimeout(10)
        done = in_system(
            hosts.master,
            directory,
            """
            famfs mount "$dev" "$mnt"
            sock=$(getfattr --only-values -n user.famfs.shadow "$mnt" 2>/dev/null)/sock
            curl -sf --unix-socket "$sock" -X PUT -d 3 http://x/log_level
            curl -sf --unix-socket "$sock" http://x/icache_dump >/dev/null
            curl -sf --unix-socket "$sock" -X POST -d 6 http://x/log_level
            curl -sf --unix-socket "$sock" http://x/icache_dump >/dev/null
            """,
            str(directory / "log"),
        )
        assert done.returncode == 0, done.stderr
        lines: list[str] = []
        while not lines or not lines[-1].endswith("unmounted"):
            lines.append(log.recv(65536).decode())
    (directory / "log").unlink()
    assert lines[0].startswith("<30>") and "famfsd[" in lines[0]  # daemon.info
    assert "mounted" in lines[0]
    assert sum("node 1 parent 1 directory" in line for line in lines) == 1
    assert any(line.endswith("log level set to 6") for line in lines)


def complete(host: Famfs, *words: str) -> list[str]:
    script = f". {shlex.quote(str(PACKAGING / 'completion.bash'))}; COMP_WORDS=("
    script += " ".join(map(shlex.quote, words)) + f"); COMP_CWORD={len(words) - 1}; "
    script += '_famfs; printf "%s\\n" "${COMPREPLY[@]}"'
    return host.run("bash", "-c", script).stdout.decode().split()


def test_completion_knows_commands_and_options(hosts: Cluster) -> None:
    """From what --help says: commands, options, mount options; else files."""
    host = hosts.master
    assert complete(host, "famfs", "m") == ["mount", "mkdir"]
    assert {"umount", "creat", "fsck", "getmap"} <= set(complete(host, "famfs", ""))
    assert "--set-daxmode" in complete(host, "famfs", "mount", "--s")
    assert complete(host, "famfs", "creat", "--si") == ["--size"]
    assert "--loglen" in complete(host, "mkfs.famfs", "--l")
    assert {"ro", "method="} <= set(complete(host, "famfs", "mount", "-o", ""))
    assert complete(host, "famfs", "cp", "/etc/fsta") == ["/etc/fstab"]


def test_manual_pages_are_made_from_help(hosts: Cluster, directory: Path) -> None:
    """One for each program and each command; a page has the options of --help."""
    host = hosts.master
    host.run(str(PACKAGING / "man-pages.sh"), str(paths.BINARIES), str(directory / "man"))
    pages = {path.name for path in (directory / "man").glob("man*/*")}
    commands = set(complete(host, "famfs", ""))
    named = {page.split(".")[0].removeprefix("famfs-") for page in pages}
    assert commands <= named
    assert {"famfs.1.gz", "mkfs.famfs.8.gz", "mount.famfs.8.gz", "famfsd.8.gz"} <= pages
    mount = gzip.decompress((directory / "man/man8/famfs-mount.8.gz").read_bytes()).decode()
    assert "set\\-daxmode" in mount and ".TH FAMFS-MOUNT" in mount
