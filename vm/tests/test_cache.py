# SPDX-License-Identifier: Apache-2.0
"""Contract of setup/cache.sh and clean-cache.sh: what is not the cache's is never removed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from famlab_vm.paths import REPOSITORY

SETUP = REPOSITORY / "setup"
FILL = 'set -eu; . "$1/cache.sh"; build() { echo built >"$1/file"; }; cache_get tree key "$2" build'


def shell(
    cache: Path | str, *command: str, cwd: Path = REPOSITORY
) -> subprocess.CompletedProcess[str]:
    """Run a command with FAMLAB_CACHE."""
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, "FAMLAB_CACHE": str(cache)}, text=True,
        capture_output=True, check=False,
    )


def fill(cache: Path | str, link: Path) -> subprocess.CompletedProcess[str]:
    """Put an entry into the cache and let `link` refer to it."""
    return shell(cache, "bash", "-c", FILL, "fill", str(SETUP), str(link), cwd=link.parent)


def clean(cache: Path) -> subprocess.CompletedProcess[str]:
    """Remove the cache."""
    return shell(cache, "bash", str(SETUP / "clean-cache.sh"))


def test_entry_is_built_once_and_removed(tmp_path: Path) -> None:
    """The link leads to the entry; cleaning leaves no directory."""
    cache, link = tmp_path / "cache", tmp_path / "link"
    assert "building" in fill(cache, link).stderr
    assert "reused" in fill(cache, link).stderr
    assert (link / "file").read_text() == "built\n"
    assert clean(cache).returncode == 0
    assert not cache.exists()


def test_name_of_the_cache_is_made_canonical(tmp_path: Path) -> None:
    """A relative name and a name with a link in it give links that lead to the entry."""
    (tmp_path / "real").mkdir()
    (tmp_path / "other").symlink_to("real")
    link = tmp_path / "link"
    assert fill("other/cache", link).returncode == 0
    assert os.readlink(link) == str(tmp_path / "real/cache/tree/key")


@pytest.mark.parametrize("name", ["tmp", "photos"])
def test_directory_with_other_contents(tmp_path: Path, name: str) -> None:
    """It is neither filled nor cleaned."""
    (tmp_path / "data" / name).mkdir(parents=True)
    done = fill(tmp_path / "data", tmp_path / "link")
    assert (done.returncode, name in done.stderr) == (2, True)
    assert clean(tmp_path / "data").returncode == 16
    assert (tmp_path / "data" / name).is_dir()
    assert len(list((tmp_path / "data").iterdir())) == 1


def test_what_was_added_later_stays(tmp_path: Path) -> None:
    """Cleaning removes the parts of the cache and says that others are there."""
    cache = tmp_path / "cache"
    fill(cache, tmp_path / "link")
    (cache / "photos").mkdir()
    assert "stay" in clean(cache).stderr
    assert [path.name for path in cache.iterdir()] == ["photos"]


def test_cache_in_use_stays(tmp_path: Path) -> None:
    """A process that runs from an entry, or a build, keeps the cache; the message names it."""
    cache = tmp_path / "cache"
    fill(cache, tmp_path / "link")
    command = ["sh", "-c", "echo; read forever", "qemu", f"{cache}/tree/key/file"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout is not None
        user.stdout.readline()
        done = clean(cache)
        assert (done.returncode, f"{user.pid} (sh)" in done.stderr) == (16, True)
        user.communicate()
    held = ["flock", str(cache / "locks" / "tree-key.lock"), "bash", str(SETUP / "clean-cache.sh")]
    done = shell(cache, *held)
    assert (done.returncode, "being built" in done.stderr) == (16, True)
    assert (cache / "tree/key/file").exists()
    assert clean(cache).returncode == 0


def test_what_is_missing_is_told_without_building(tmp_path: Path) -> None:
    """tree.sh --missing looks into the cache, not at the links of a clone."""
    for tree in ("tree", "lint-tree"):
        done = shell(tmp_path / "no" / "cache", "setup/tree.sh", "--missing", tree)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{tree}\n", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [".", "tree", "tree/key"])
# Only root can give files away, hence find some of another user in its cache.
@pytest.mark.parametrize("how", ["group", "others", *(["owner"] if os.geteuid() == 0 else [])])
def test_cache_that_others_can_write_to(tmp_path: Path, place: str, how: str) -> None:
    """Nothing in it is used, as programs are started from it, and nothing in it is removed."""
    cache, link = tmp_path / "cache", tmp_path / "link"
    fill(cache, link)
    link.unlink()
    if how == "owner":
        os.chown(cache / place, 1, 0)
    else:
        (cache / place).chmod(0o775 if how == "group" else 0o757)
    done = fill(cache, link)
    assert (done.returncode, "others can write to" in done.stderr) == (2, True)
    assert not link.exists()
    done = clean(cache)
    assert (done.returncode, "others can write to" in done.stderr) == (16, True)
    assert (cache / "tree" / "key" / "file").exists()


def test_cache_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """A user of a group of several is not locked out of the own cache."""
    cache, link = tmp_path / "cache", tmp_path / "link"
    script = f"umask 002; exec bash -c '{FILL}' fill {SETUP} {link}"
    for _ in range(2):
        assert shell(cache, "bash", "-c", script).returncode == 0
    assert all(path.stat().st_mode & 0o022 == 0 for path in (cache, *cache.rglob("*")))
