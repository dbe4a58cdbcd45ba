# SPDX-License-Identifier: Apache-2.0
"""Contract: a tree is removed whatever a guest has made of it, and nothing outside of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from famlab_vm.remove import remove_tree
from famlab_vm.separate import in_child


def test_removes_files_of_all_kinds(tmp_path: Path) -> None:
    """A FIFO is not waited for, and a link is removed itself."""
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    os.mkfifo(tree / "a" / "fifo")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    (tree / "a" / "b" / "link").symlink_to(tmp_path / "outside")
    (tree / "link").symlink_to(tmp_path / "outside" / "file")
    remove_tree(tree)
    assert not tree.exists()
    assert (tmp_path / "outside" / "file").exists()


def test_link_to_a_tree_is_refused(tmp_path: Path) -> None:
    """What a link leads to is not what was to be removed."""
    (tmp_path / "tree" / "a").mkdir(parents=True)
    (tmp_path / "link").symlink_to("tree")
    with pytest.raises(NotADirectoryError):
        remove_tree(tmp_path / "link")
    assert (tmp_path / "tree" / "a").is_dir()


def test_any_depth(tmp_path: Path) -> None:
    """Deeper than a process may have descriptors, frames of the stack or bytes in a path."""
    (tmp_path / "tree").mkdir()
    where = os.open(tmp_path / "tree", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=where)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=where))
        below = os.open("d", os.O_RDONLY, dir_fd=where)
        os.close(where)
        where = below
    os.close(where)
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_directories_without_permissions(tmp_path: Path) -> None:
    """What is not root may neither read nor empty such a directory before it changes that."""
    tree = tmp_path / "tree"
    (tree / "a" / "b" / "c").mkdir(parents=True)
    (tree / "a" / "b" / "link").symlink_to(tmp_path)

    def remove() -> None:
        if os.geteuid() == 0:
            for path in (tree, *tree.rglob("*")):
                os.chown(path, 65534, 65534, follow_symlinks=False)
            # Where pytest has put it, only root may come; from here no path is needed.
            os.chdir(tmp_path)
            os.chown(".", 65534, 65534)
            os.setuid(65534)
        else:
            os.chdir(tmp_path)
        for name, mode in (("tree/a/b/c", 0o500), ("tree/a/b", 0o555), ("tree/a", 0)):
            os.chmod(name, mode)
        remove_tree(Path("tree"))

    mode = tmp_path.stat().st_mode
    in_child(remove)
    assert not tree.exists()
    assert tmp_path.stat().st_mode == mode
