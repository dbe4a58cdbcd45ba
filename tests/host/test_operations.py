# SPDX-License-Identifier: Apache-2.0
"""Contract: every operation on a mount answers as the table in daemon/README.md says: what famfs
can do works, what it cannot do is refused by the errno there, and a refusal changes nothing.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import socket
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from famfs_verbs import MEBI, Famfs, random_bytes
from host.cluster import DEVICE_SIZE, Cluster
from support import media

SIZE = 5000
CONTENT = random_bytes(SIZE, seed=1)


@pytest.fixture
def backend() -> str:
    return "plain"  # the answers are the same whatever maps the memory


@dataclass(frozen=True)
class Call:
    """One operation: what it is called with, and what it answers on the master and on a client."""

    act: Callable[[str], object]
    master: object
    client: object


def refused(act: Callable[[str], object], master: int, client: int | None = None) -> Call:
    return Call(act, OSError(master), OSError(master if client is None else client))


def works(act: Callable[[str], object], answer: object = None) -> Call:
    return Call(act, answer, answer)


def with_file(flags: int, act: Callable[[int], object]) -> Callable[[str], object]:
    """Opens the file, and closes it whatever comes of it."""

    def run(mount: str) -> object:
        descriptor = os.open(f"{mount}/file", flags)
        try:
            return act(descriptor)
        finally:
            os.close(descriptor)

    return run


def bind_socket(mount: str) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(f"{mount}/new"))


def from_libc(name: str, *arguments: object) -> None:
    """A call that Python has not, or not as it is."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), name)


def exchange_names(mount: str) -> None:
    at, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    from_libc("renameat2", at, f"{mount}/file".encode(), at, f"{mount}/d".encode(), exchange)


def fallocate(mode: int) -> Callable[[int], object]:
    # Not posix_fallocate(3), which writes instead where this is refused.
    return lambda fd: from_libc("fallocate", fd, mode, ctypes.c_int64(0), ctypes.c_int64(4096))


def copy_within(descriptor: int) -> object:
    return os.copy_file_range(descriptor, descriptor, 1000, offset_src=0, offset_dst=2000)


def is_ready(descriptor: int) -> object:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLOUT)
    return bool(poll.poll(0))


def truncate(size: int) -> Callable[[str], object]:
    return lambda mount: os.truncate(f"{mount}/file", size)


FS_IOC_GETFLAGS, FIBMAP, FAMFS_UNKNOWN = 0x80086601, 1, 0xC0046BFF
READ, WRITE = os.O_RDONLY, os.O_RDWR
EPERM, EROFS, EOPNOTSUPP = errno.EPERM, errno.EROFS, errno.EOPNOTSUPP

CALLS = {
    # names: only the master changes them, and only adds
    "create": refused(lambda m: os.open(f"{m}/new", os.O_CREAT | os.O_WRONLY), EOPNOTSUPP, EROFS),
    "mknod file": refused(lambda m: os.mknod(f"{m}/new"), EPERM, EROFS),
    "mknod fifo": refused(lambda m: os.mkfifo(f"{m}/new"), EPERM, EROFS),
    "mknod device": refused(
        lambda m: os.mknod(f"{m}/new", stat.S_IFCHR | 0o600, os.makedev(1, 3)), EPERM, EROFS
    ),
    "mknod socket": refused(bind_socket, EPERM, EROFS),
    "mkdir": Call(lambda m: os.mkdir(f"{m}/made"), None, OSError(EROFS)),
    "mkdir of what exists": refused(lambda m: os.mkdir(f"{m}/d"), errno.EEXIST),
    "unlink": refused(lambda m: os.unlink(f"{m}/file"), EPERM, EROFS),
    "rmdir": refused(lambda m: os.rmdir(f"{m}/d"), EPERM, EROFS),
    "rename": refused(lambda m: os.rename(f"{m}/file", f"{m}/new"), EPERM, EROFS),
    "rename over a file": refused(lambda m: os.replace(f"{m}/file", f"{m}/other"), EPERM, EROFS),
    "exchange": refused(exchange_names, EPERM, EROFS),
    "symlink": refused(lambda m: os.symlink("file", f"{m}/new"), EPERM, EROFS),
    "link": refused(lambda m: os.link(f"{m}/file", f"{m}/new"), EPERM, EROFS),
    "tmpfile": refused(lambda m: os.open(m, os.O_TMPFILE | os.O_RDWR), EOPNOTSUPP),
    "readlink": refused(lambda m: os.readlink(f"{m}/file"), errno.EINVAL),
    "lookup": refused(lambda m: os.stat(f"{m}/missing"), errno.ENOENT),
    "lookup below a file": refused(lambda m: os.stat(f"{m}/file/x"), errno.ENOTDIR),
    # sizes: a file keeps the one that it was created with
    "truncate to 0": refused(truncate(0), EPERM),
    "truncate to 1": refused(truncate(1), EPERM),
    "truncate by one": refused(truncate(SIZE - 1), EPERM),
    "grow by one": refused(truncate(SIZE + 1), EPERM),
    "grow far": refused(truncate(1 << 40), EPERM),
    "grow to the largest": refused(truncate((1 << 63) - 1), EPERM),
    "truncate to its size": works(truncate(SIZE)),
    "ftruncate": refused(with_file(WRITE, lambda fd: os.ftruncate(fd, 0)), EPERM),
    "open with O_TRUNC": refused(lambda m: os.open(f"{m}/file", WRITE | os.O_TRUNC), EPERM),
    "write at the end": refused(
        with_file(WRITE, lambda fd: os.pwrite(fd, b"x", SIZE)), errno.ENOSPC
    ),
    "fallocate": refused(with_file(WRITE, fallocate(0)), EOPNOTSUPP),
    "punch a hole": refused(with_file(WRITE, fallocate(3)), EOPNOTSUPP),
    # the bytes
    "read": works(with_file(READ, lambda fd: os.pread(fd, SIZE + 1, 0)), CONTENT),
    "read at the end": works(with_file(READ, lambda fd: os.pread(fd, 1, SIZE)), b""),
    "write": works(with_file(WRITE, lambda fd: os.pwrite(fd, CONTENT[7:9], 7)), 2),
    "write across the end": works(
        with_file(WRITE, lambda fd: os.pwrite(fd, CONTENT[-2:] + b"xyz", SIZE - 2)), 2
    ),
    "fsync": works(with_file(WRITE, os.fsync)),
    "fdatasync": works(with_file(WRITE, os.fdatasync)),
    "fsync of a directory": works(lambda m: _with_directory(m, os.fsync)),
    "seek to data": works(with_file(READ, lambda fd: os.lseek(fd, 10, os.SEEK_DATA)), 10),
    "seek to a hole": works(with_file(READ, lambda fd: os.lseek(fd, 10, os.SEEK_HOLE)), SIZE),
    "seek past the end": refused(
        with_file(READ, lambda fd: os.lseek(fd, SIZE, os.SEEK_DATA)), errno.ENXIO
    ),
    "poll": works(with_file(WRITE, is_ready), True),
    "open of a directory for writing": refused(
        lambda m: os.open(f"{m}/d", os.O_WRONLY), errno.EISDIR
    ),
    # attributes: of this mount, in no log
    "chmod": works(lambda m: os.chmod(f"{m}/other", 0o640)),
    "chown": works(lambda m: os.chown(f"{m}/other", 12, 34)),
    "utimes": works(lambda m: os.utime(f"{m}/other", (1, 2))),
    "access": works(lambda m: os.access(f"{m}/file", os.R_OK), True),
    "access for running": works(lambda m: os.access(f"{m}/file", os.X_OK), False),
    "stat": works(lambda m: os.stat(f"{m}/file").st_size, SIZE),
    "setxattr": refused(lambda m: os.setxattr(f"{m}/file", "user.x", b"1"), EOPNOTSUPP),
    "setxattr of ours": refused(
        lambda m: os.setxattr(f"{m}/file", "user.famfs.map", b"1"), EPERM
    ),
    "setxattr trusted": refused(lambda m: os.setxattr(f"{m}/d", "trusted.x", b"1"), EOPNOTSUPP),
    "removexattr": refused(lambda m: os.removexattr(f"{m}/file", "user.x"), EOPNOTSUPP),
    "removexattr of ours": refused(
        lambda m: os.removexattr(f"{m}/file", "user.famfs.map"), EPERM
    ),
    "getxattr": refused(lambda m: os.getxattr(f"{m}/file", "user.x"), errno.ENODATA),
    # ioctl
    "unknown ioctl": refused(
        with_file(READ, lambda fd: fcntl.ioctl(fd, FAMFS_UNKNOWN, b"1234")), errno.ENOTTY
    ),
    "flags of the inode": refused(
        with_file(READ, lambda fd: fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(8))), errno.ENOTTY
    ),
    "block of a file": works(
        with_file(READ, lambda fd: fcntl.ioctl(fd, FIBMAP, bytes(4))), bytes(4)
    ),
}  # fmt: skip


def _with_directory(path: str, act: Callable[[int], object]) -> object:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return act(descriptor)
    finally:
        os.close(descriptor)


@pytest.fixture
def filled(cluster: Cluster) -> Cluster:
    cluster.master.put("file", CONTENT, "--mode", "0644")
    cluster.master.put("other", CONTENT)
    cluster.master.mkdir("d")
    return cluster


def everything(mount: str) -> object:
    """All names with their attributes, and the bytes of the file."""
    with os.scandir(mount) as listing:
        names = {(e.name, e.stat().st_mode, e.stat().st_uid, e.stat().st_size) for e in listing}
    return names, with_file(READ, lambda fd: os.pread(fd, SIZE + 1, 0))(mount)


def answer_of(call: Call, mount: str) -> object:
    try:
        return call.act(mount)
    except OSError as error:
        return error


@pytest.mark.parametrize("role", ["master", "client"])
def test_every_operation_answers_what_the_table_says(filled: Cluster, role: str) -> None:
    """Each call of the table on one mount; what is refused leaves names and bytes as they were."""
    host: Famfs = getattr(filled, role)
    wrong = []
    for name, call in CALLS.items():
        before = everything(host.mount_point)
        expected = getattr(call, role)
        got = answer_of(call, host.mount_point)
        if isinstance(expected, OSError):
            # Python's OSError(number) has it as its only argument.
            same = isinstance(got, OSError) and got.errno == expected.args[0]
            same = same and everything(host.mount_point) == before
        else:
            same = got == expected
        if not same:
            wrong.append(f"{name}: {got!r}, not {expected!r}")
    assert not wrong, "\n".join(wrong)
    for reader in (filled.master, filled.client):
        assert reader.read("file") == CONTENT
        reader.fsck()


def test_copy_within_a_file(filled: Cluster) -> None:
    """copy_file_range(2) copies, by way of the daemon."""
    assert with_file(WRITE, copy_within)(filled.client.mount_point) == 1000
    expected = CONTENT[:2000] + CONTENT[:1000] + CONTENT[3000:]
    assert filled.master.read("file") == expected


def in_child(act: Callable[[], object]) -> int:
    """The errno of what a process of its own does, 0 if it works."""
    child = os.fork()
    if child == 0:
        code = 255
        try:
            act()
            code = 0
        except OSError as error:
            code = error.errno or 255
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def as_user(uid: int, mount: str, act: Callable[[int], object]) -> int:
    """The errno of what another user does below the mount's root, which is opened for him."""

    def run() -> None:
        root = os.open(mount, os.O_PATH | os.O_DIRECTORY)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        act(root)

    return in_child(run)


def write_mine(root: int) -> None:
    os.write(os.open("file", os.O_WRONLY, dir_fd=root), b"mine")


def test_a_client_writes_where_it_was_allowed_to(cluster: Cluster) -> None:
    """Files have no permission to write on a client until its owner says so there, by chmod(2);
    the master and other clients do not see that."""
    master, client, other = cluster.master, cluster.client, cluster.add("other")
    other.mount()
    master.creat("file", 4096, "--mode", "0666", "--uid", "1234", "--gid", "1234")
    master.mkdir("d", "--mode", "0775")

    def change(mode: int) -> Callable[[int], object]:
        return lambda root: os.chmod("file", mode, dir_fd=root)

    assert as_user(1234, client.mount_point, write_mine) == errno.EACCES
    assert as_user(1234, client.mount_point, lambda d: os.open("file", READ, dir_fd=d)) == 0
    assert {host.tree()["file"].mode for host in (client, other)} == {0o444}
    assert client.tree()["d"].mode == 0o775
    assert master.tree()["file"].mode == 0o666
    assert as_user(4321, client.mount_point, change(0o666)) == EPERM
    assert as_user(1234, client.mount_point, change(0o644)) == 0
    assert as_user(1234, client.mount_point, write_mine) == 0
    assert as_user(4321, client.mount_point, write_mine) == errno.EACCES
    assert master.read("file", 0, 4) == b"mine"
    assert master.tree()["file"].mode == 0o666
    assert other.tree()["file"].mode == 0o444


def test_a_mount_with_ro_changes_nothing(cluster: Cluster, memory: object) -> None:
    """-o ro binds root and the master, too: no write, no new file, nothing appended."""
    cluster.master.put("file", CONTENT)
    cluster.master.umount()
    cluster.master.mount("-o", "ro")
    mount = cluster.master.mount_point
    for act in (
        lambda: os.open(f"{mount}/file", os.O_WRONLY),
        lambda: os.mkdir(f"{mount}/new"),
        lambda: os.chmod(f"{mount}/file", 0o600),
    ):
        with pytest.raises(OSError) as caught:
            act()
        assert caught.value.errno == EROFS
    assert cluster.master.creat("new", 4096, check=False).returncode == EROFS
    assert cluster.master.read("file") == CONTENT
    assert sorted(cluster.client.tree()) == ["file"]


def flock(fd: int) -> None:
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def posix_lock(start: int) -> Callable[[int], object]:
    return lambda fd: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, start)


def ofd_lock(start: int) -> Callable[[int], object]:
    wanted = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, start, 10, 0)
    return lambda fd: fcntl.fcntl(fd, fcntl.F_OFD_SETLK, wanted)


LOCKS: dict[str, Callable[[int], object]] = {
    "flock": flock,
    "posix": posix_lock(100),
    "posix beyond": posix_lock(110),
    "ofd": ofd_lock(100),
    "ofd beyond": ofd_lock(110),
}


def other_process_locks(path: str, kind: str) -> int:
    return in_child(lambda: LOCKS[kind](os.open(path, os.O_RDWR)))


CONFLICTS = {
    "flock": {"flock"},
    "posix": {"posix", "ofd"},
    "ofd": {"posix", "ofd"},
}


@pytest.mark.parametrize("held", list(CONFLICTS))
@pytest.mark.parametrize("role", ["master", "client"])
def test_locks_hold_among_processes_of_a_host(filled: Cluster, role: str, held: str) -> None:
    """Each kind conflicts with what it should, over its range only, until its file is closed."""
    host: Famfs = getattr(filled, role)
    path = host.path("file")
    descriptor = os.open(path, os.O_RDWR)
    second = os.open(path, os.O_RDWR)
    try:
        LOCKS[held](descriptor)
        answers = {kind: other_process_locks(path, kind) for kind in LOCKS}
        expected = {kind: errno.EAGAIN if kind in CONFLICTS[held] else 0 for kind in LOCKS}
        assert answers == expected
        # Within a process, POSIX locks do not conflict; the others belong to the open file.
        if held == "posix":
            LOCKS[held](second)
        else:
            with pytest.raises(BlockingIOError):
                LOCKS[held](second)
        # Locks are this host's: nothing of them is in the shared memory.
        other = filled.client if role == "master" else filled.master
        assert other_process_locks(other.path("file"), held) == 0
    finally:
        os.close(descriptor)
        os.close(second)
    assert other_process_locks(path, held) == 0


def test_statfs_tells_capacity_and_free_space(cluster: Cluster) -> None:
    """The device and its log: bytes by allocation unit, files by log entries, on both hosts."""
    entries = (media.DEFAULT_LOG_LENGTH - media.HEADER_SIZE) // media.ENTRY_SIZE
    used = media.LOG_OFFSET + media.DEFAULT_LOG_LENGTH
    for host in (cluster.master, cluster.client):
        numbers = os.statvfs(host.mount_point)
        assert numbers.f_blocks * numbers.f_frsize == DEVICE_SIZE
        assert (numbers.f_blocks - numbers.f_bfree) * numbers.f_frsize == used
        assert numbers.f_bavail == numbers.f_bfree
        assert (numbers.f_files, numbers.f_ffree) == (entries, entries)
        assert numbers.f_namemax == 79
    cluster.master.creat("file", 5 * MEBI)
    cluster.master.mkdir("d")
    assert sorted(cluster.client.tree()) == ["d", "file"]
    for host in (cluster.master, cluster.client):
        numbers = os.statvfs(host.mount_point)
        assert (numbers.f_blocks - numbers.f_bfree) * numbers.f_frsize == used + 6 * MEBI
        assert numbers.f_ffree == entries - 2
        text = host.fsck().text
        [free] = [line.split()[2] for line in text.splitlines() if "Free space" in line]
        assert int(free) == numbers.f_bfree * numbers.f_frsize


def test_a_large_listing_is_whole(cluster: Cluster) -> None:
    """Read in many pieces, every name is there once, with the attributes that stat(2) gives."""
    count = 1500
    master = cluster.master
    names = [f"{master.path()}/{'n' * 60}{i},1" for i in range(count)]
    for start in range(0, count, 500):
        words = [word for name in names[start : start + 500] for word in ("--multi", name)]
        master.famfs("creat", "--threadct", "1", *words)
    with os.scandir(cluster.client.mount_point) as listing:
        seen = {entry.name: entry.stat().st_ino for entry in listing}
    assert len(seen) == count
    assert len(os.listdir(cluster.client.mount_point)) == count
    for name in list(seen)[::100]:
        assert os.stat(cluster.client.path(name)).st_ino == seen[name]
