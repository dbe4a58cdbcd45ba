# SPDX-License-Identifier: Apache-2.0
"""Contract: a directory is emptied only if the test runner has made it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.ownership import MARK, NotOurs, make_or_check_directory


def test_own_directory_may_be_emptied(directory: Path) -> None:
    """One that is new or empty is marked, and with the mark it may hold anything."""
    (directory / "empty").mkdir()
    for path in (directory / "new" / "results", directory / "empty"):
        make_or_check_directory(path)
        (path / "junit.xml").touch()
        make_or_check_directory(path)
        assert sorted(os.listdir(path)) == [MARK, "junit.xml"]


def test_other_contents_are_refused(directory: Path) -> None:
    """Somebody's home is not taken for results, nor one with another file of the mark's name."""
    (directory / "letter").touch()
    with pytest.raises(NotOurs, match="holds letter"):
        make_or_check_directory(directory)
    (directory / MARK).write_text("mine")
    with pytest.raises(NotOurs, match="says that"):
        make_or_check_directory(directory)
    (directory / MARK).unlink()
    os.mkfifo(directory / MARK)
    with pytest.raises(NotOurs, match="says that"):
        make_or_check_directory(directory)
    assert (directory / "letter").exists()


def test_link_is_refused(directory: Path) -> None:
    """A link to a directory that would do is refused; so is a file."""
    make_or_check_directory(directory / "results")
    (directory / "link").symlink_to("results")
    (directory / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(NotOurs, match="a link, or no directory"):
            make_or_check_directory(directory / name)


def test_directory_of_another_user_is_refused(directory: Path) -> None:
    """Even an empty one: whoever owns it may put anything there later."""
    (directory / "theirs").mkdir()
    os.chown(directory / "theirs", 1, 1)
    with pytest.raises(NotOurs, match="belongs to daemon"):
        make_or_check_directory(directory / "theirs")
