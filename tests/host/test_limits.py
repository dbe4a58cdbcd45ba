# SPDX-License-Identifier: Apache-2.0
"""Contract: at every limit the answer is an error that says what the limit is; nothing that was
there before suffers, and what the format cannot do is refused, not half done.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from famfs_verbs import MEBI, Famfs, random_bytes
from host.cluster import DEVICE_SIZE, Cluster
from support import media
from support.machine import Outcome

LONGEST = 79  # bytes of a path, the NUL not counted


@pytest.fixture
def backend() -> str:
    return "plain"  # limits are the same whatever maps the memory


def refused(outcome: Outcome, code: int) -> str:
    assert outcome.returncode == code, outcome
    return outcome.text


def test_path_of_79_bytes_is_the_longest(master: Famfs, client: Famfs) -> None:
    """79 bytes work on both hosts; 80 are refused, not cut short."""
    name = "n" * LONGEST
    master.put(name, b"content")
    assert client.read(name) == b"content"
    assert "79" in refused(master.creat("m" * (LONGEST + 1), 4096, check=False), errno.ENAMETOOLONG)
    assert sorted(client.tree()) == [name]


def test_long_path_through_directories(master: Famfs, client: Famfs) -> None:
    """The limit counts the whole path, directories included."""
    master.mkdir("d" * 40)
    master.creat("d" * 40 + "/" + "f" * 38, 4096)
    refused(master.creat("d" * 40 + "/" + "g" * 39, 4096, check=False), errno.ENAMETOOLONG)
    refused(master.mkdir("d" * 40 + "/" + "h" * 39, check=False), errno.ENAMETOOLONG)
    assert len(client.tree()) == 2


def test_names_of_any_bytes(master: Famfs, client: Famfs) -> None:
    """Spaces, quotes, newlines and UTF-8 in names are kept."""
    for name in ("a b", "quote'\"", "grün", "new\nline", "-dash", "$x"):
        master.put(name, name.encode())
        assert client.read(name) == name.encode()


def test_full_file_system(master: Famfs, client: Famfs, memory: Path) -> None:
    """When space is used up creat says so; existing files stay sound and small ones still fit."""
    content = random_bytes(MEBI, seed=1)
    master.put("kept", content)
    data = DEVICE_SIZE - media.LOG_OFFSET - media.DEFAULT_LOG_LENGTH
    master.creat("big", data - 4 * MEBI)
    assert "no room" in refused(master.creat("more", 4 * MEBI, check=False), errno.ENOSPC)
    master.creat("small", 2 * MEBI)
    refused(master.creat("one too many", 1, check=False), errno.ENOSPC)
    assert sorted(client.tree()) == ["big", "kept", "small"]
    assert client.read("kept") == content
    client.fsck()


def test_full_log(hosts: Cluster, memory: Path) -> None:
    """When the log is full creat and mkdir say so; what is there stays readable and clean."""
    hosts.master.mkfs()
    hosts.master.mount()
    hosts.master.put("kept", b"content")
    hosts.master.umount()
    fill_log(memory, leave=2)
    hosts.mount_all()
    hosts.master.creat("next to last", 4096)
    hosts.master.mkdir("last")
    assert "log" in refused(hosts.master.creat("one too many", 4096, check=False), errno.ENOSPC)
    assert "log" in refused(hosts.master.mkdir("another", check=False), errno.ENOSPC)
    assert hosts.client.read("kept") == b"content"
    assert hosts.client.exists("last") and not hosts.client.exists("one too many")
    hosts.client.fsck()


def fill_log(memory: Path, leave: int) -> None:
    """Appends directories with our own encoder until only `leave` entries are free."""
    with media.medium(memory) as medium:
        last = medium.header("last_index")
        first = medium.entry_count()
        assert isinstance(last, int)
        end = last + 1 - leave
        for index in range(first, end):
            medium.append_directory(index, f"filler{index}")
        medium.set_header("next_seqnum", end)
        medium.set_header("next_index", end)


NO_SIZE = {errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP, errno.EFBIG}
NO_ENTRY = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}
UNSUPPORTED: dict[str, tuple[Callable[[str], object], set[int]]] = {
    "truncate": (lambda d: os.truncate(f"{d}/file", 100), NO_SIZE),
    "truncate to 0": (lambda d: os.truncate(f"{d}/file", 0), NO_SIZE),
    "grow": (lambda d: os.truncate(f"{d}/file", 1 << 30), NO_SIZE),
    "open with O_TRUNC": (lambda d: os.open(f"{d}/file", os.O_WRONLY | os.O_TRUNC), NO_SIZE),
    "open with O_CREAT": (lambda d: os.open(f"{d}/new", os.O_WRONLY | os.O_CREAT), NO_ENTRY),
    "unlink": (lambda d: os.unlink(f"{d}/file"), NO_ENTRY),
    "rmdir": (lambda d: os.rmdir(f"{d}/d"), NO_ENTRY),
    "rename": (lambda d: os.rename(f"{d}/file", f"{d}/other"), NO_ENTRY),
    "hard link": (lambda d: os.link(f"{d}/file", f"{d}/other"), NO_ENTRY),
    "symbolic link": (lambda d: os.symlink("file", f"{d}/other"), NO_ENTRY),
    "fifo": (lambda d: os.mkfifo(f"{d}/other"), NO_ENTRY),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
@pytest.mark.parametrize("role", ["master", "client"])
def test_what_the_format_cannot_do_is_refused(cluster: Cluster, role: str, name: str) -> None:
    """No log entry exists for these: the error is a sane one, and nothing has changed."""
    content = random_bytes(5000, seed=1)
    cluster.master.put("file", content)
    cluster.master.mkdir("d")
    host = getattr(cluster, role)
    before = host.tree()
    attempt, allowed = UNSUPPORTED[name]
    with pytest.raises(OSError) as caught:
        attempt(host.mount_point)
    if role == "client":  # a client's name space is read-only, whatever is tried
        allowed = allowed | {errno.EROFS}
    assert caught.value.errno in allowed, errno.errorcode[caught.value.errno or 0]
    assert host.tree() == before
    assert host.read("file") == content


def test_write_beyond_the_end_is_refused(master: Famfs, client: Famfs) -> None:
    """A file does not grow: a write that begins at the end fails, one that crosses it is cut."""
    master.put("file", bytes(5000))
    descriptor = os.open(client.path("file"), os.O_RDWR)
    try:
        with pytest.raises(OSError) as caught:
            os.pwrite(descriptor, b"beyond", 5000)
        assert caught.value.errno in (errno.EFBIG, errno.ENOSPC, errno.EINVAL)
        try:
            assert os.pwrite(descriptor, b"x" * 20, 4990) == 10
        except OSError as error:
            assert error.errno in (errno.EFBIG, errno.ENOSPC, errno.EINVAL)
        assert os.pread(descriptor, 100, 5000) == b""
        assert os.fstat(descriptor).st_size == 5000
    finally:
        os.close(descriptor)


def test_append_does_not_grow_the_file(master: Famfs, client: Famfs) -> None:
    """O_APPEND finds no room behind the end."""
    master.put("file", b"0123456789")
    descriptor = os.open(client.path("file"), os.O_WRONLY | os.O_APPEND)
    try:
        with pytest.raises(OSError):
            os.write(descriptor, b"more")
    finally:
        os.close(descriptor)
    assert client.read("file") == b"0123456789"
