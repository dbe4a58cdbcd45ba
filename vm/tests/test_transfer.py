# SPDX-License-Identifier: Apache-2.0
"""Contract of copies into and out of a guest's directory: what is copied, and what is refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from famlab_vm import transfer
from famlab_vm.errors import LabStateError
from famlab_vm.separate import in_child
from famlab_vm.transfer import LARGEST, Owner, copy_in, copy_out

GUEST = Path("host0:/data")


@pytest.fixture
def exchange(tmp_path: Path) -> Path:
    """A directory that a guest writes to."""
    path = tmp_path / "exchange"
    path.mkdir()
    return path


@pytest.fixture
def opened(exchange: Path) -> Iterator[int]:
    """A descriptor of it."""
    descriptor = os.open(exchange, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def pull(opened: int, target: Path, largest: int = LARGEST) -> None:
    """Copy `data` out."""
    copy_out("data", opened, GUEST, target, largest)


def test_tree_is_copied_out_without_special_bits(
    exchange: Path, opened: int, tmp_path: Path
) -> None:
    """Contents and permissions are kept; what would give somebody's rights away is not."""
    (exchange / "data" / "below").mkdir(parents=True)
    tool = exchange / "data" / "below" / "tool"
    tool.write_bytes(b"x" * 3_000_000)
    tool.chmod(0o6755)
    (exchange / "data" / "below").chmod(0o3777)
    pull(opened, tmp_path / "back")
    assert (tmp_path / "back/below/tool").read_bytes() == tool.read_bytes()
    assert (tmp_path / "back/below/tool").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "back/below").stat().st_mode & 0o7777 == 0o777


def _socket(path: Path) -> None:
    # Relative, as an address is short.
    def bind() -> None:
        os.chdir(path.parent)
        socket.socket(socket.AF_UNIX).bind(path.name)

    in_child(bind)


SPECIAL: dict[str, Callable[[Path], None]] = {
    "a link": lambda path: path.symlink_to("/etc/passwd"),
    "a FIFO": lambda path: os.mkfifo(path),
    "a socket": _socket,
}
if os.geteuid() == 0:
    # Nobody has this device, so to open it fails otherwise.
    SPECIAL["a device"] = lambda path: os.mknod(path, 0o020600, os.makedev(250, 250))


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("place", ["data", "data/below/x"])
def test_special_files_are_refused(
    exchange: Path, opened: int, tmp_path: Path, place: str, kind: str
) -> None:
    """Wherever they are, with their names, before anything is copied, and without being opened."""
    path = exchange / place
    path.parent.mkdir(parents=True, exist_ok=True)
    SPECIAL[kind](path)
    with pytest.raises(LabStateError, match=f"^host0:/{place}: found {kind}; allowed: files and"):
        pull(opened, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_too_much_is_refused(
    exchange: Path, opened: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By bytes, also those that a file only claims to have; by entries; by levels."""
    data = exchange / "data"
    data.mkdir()
    (data / "a").write_bytes(b"x" * 600)
    (data / "b").write_bytes(b"x" * 600)
    with pytest.raises(LabStateError, match="^host0:/data: found more than 1K; allowed: less"):
        pull(opened, tmp_path / "back", 1024)
    os.truncate(data / "a", 1 << 42)
    with pytest.raises(LabStateError, match="found more than 4G"):
        pull(opened, tmp_path / "back")
    os.truncate(data / "a", 0)
    monkeypatch.setattr(transfer, "MOST_ENTRIES", 2)
    with pytest.raises(LabStateError, match="found more than 2 files and directories"):
        pull(opened, tmp_path / "back")
    monkeypatch.setattr(transfer, "MOST_ENTRIES", 3)
    (data / "a").unlink()
    (data / "below").mkdir()
    monkeypatch.setattr(transfer, "DEEPEST", 1)
    with pytest.raises(LabStateError, match="^host0:/data/below: found more than 1 levels"):
        pull(opened, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    monkeypatch.setattr(transfer, "DEEPEST", 2)
    pull(opened, tmp_path / "back", 600)
    assert (tmp_path / "back" / "b").stat().st_size == 600


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_change_after_the_look(
    exchange: Path, opened: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A link that takes the place of what was looked at is refused; nothing is read through it."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "x").write_text("secret")
    data = exchange / "data"
    (data / "x").mkdir(parents=True)
    (data / "file").touch()
    look = transfer._look

    def swap(name: str, directory: int, *rest: object) -> None:
        look(name, directory, *rest)  # type: ignore[arg-type]
        if name == "data":
            (data / "x").rmdir()
            (data / "x").symlink_to(secret / "x" if kind == "file" else secret)

    monkeypatch.setattr(transfer, "_look", swap)
    with pytest.raises(LabStateError, match="^host0:/data/x: found a link"):
        pull(opened, tmp_path / "back")
    assert not (tmp_path / "back" / "x").exists()


@pytest.mark.parametrize("wanted", ["file", "directory"])
def test_change_between_stat_and_open(
    exchange: Path, opened: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    """Even then a link or a FIFO is not followed, nor waited for."""
    data = exchange / "data"
    data.mkdir() if wanted == "directory" else data.touch()
    stat = os.stat
    # A file is opened after the second look only.
    looks = [1] if wanted == "directory" else [1, 2]

    def swap(name: str, **options: Any) -> os.stat_result:
        status = stat(name, **options)
        if name == "data" and looks.pop() == 1:
            data.rmdir() if wanted == "directory" else data.unlink()
            data.symlink_to(tmp_path) if wanted == "directory" else os.mkfifo(data)
        return status

    monkeypatch.setattr(os, "stat", swap)
    with pytest.raises(LabStateError, match=r"^host0:/data: found .*; allowed: a \w+$"):
        pull(opened, tmp_path / "back")


def test_copy_in_never_writes_through_what_is_there(
    exchange: Path, opened: int, tmp_path: Path
) -> None:
    """A link of the name, to a file or to nothing, is an error; nothing is made where it leads."""
    (tmp_path / "victim").write_text("victim")
    (tmp_path / "file").write_text("content")
    (tmp_path / "tree" / "below").mkdir(parents=True)
    for name, target in (("a", tmp_path / "victim"), ("b", tmp_path / "nothing")):
        (exchange / name).symlink_to(target)
        for source in (tmp_path / "file", tmp_path / "tree"):
            with pytest.raises(FileExistsError):
                copy_in(source, name, opened, Owner.of(opened))
    assert (tmp_path / "victim").read_text() == "victim"
    assert not (tmp_path / "nothing").exists()


def test_copy_in(exchange: Path, opened: int, tmp_path: Path) -> None:
    """Files, directories and links below arrive, and belong to whom the directory belongs."""
    owner = (65534, 65534) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(exchange, *owner)
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below" / "file").write_bytes(b"x" * 3_000_000)
    (tree / "below" / "file").chmod(0o640)
    (tree / "link").symlink_to("below/file")
    (tree / "below").chmod(0o750)
    copy_in(tree, "new", opened, Owner.of(opened))
    assert (exchange / "new/below/file").read_bytes() == (tree / "below/file").read_bytes()
    assert os.readlink(exchange / "new/link") == "below/file"
    for name, mode in (("below", 0o750), ("below/file", 0o640)):
        status = (exchange / "new" / name).stat()
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (mode, *owner)


def test_copy_in_waits_for_no_fifo(opened: int, tmp_path: Path) -> None:
    """What is neither a file nor a directory is refused, with its name."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(LabStateError, match="fifo: found a FIFO"):
        copy_in(tmp_path / "fifo", "new", opened, Owner.of(opened))
