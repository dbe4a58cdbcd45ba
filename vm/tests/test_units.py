# SPDX-License-Identifier: Apache-2.0
"""Contract: sizes are read and written with powers of 1024, and nothing else passes for one."""

from __future__ import annotations

import pytest

from famlab_vm.units import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("4G", 4 << 30), ("256M", 256 << 20), ("1k", 1024), ("7", 7), (7, 7), ("2 GiB", 2 << 30)],
)
def test_parse(text: object, size: int) -> None:
    """Suffixes are powers of 1024, in either case."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", -1, "1.5G", "4GB", "4X", None, True, [], "9" * 99])
def test_parse_refuses(text: object) -> None:
    """What is no size raises ValueError."""
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1 << 20, 3 << 30, 5 << 40, (1 << 30) + 1])
def test_format_is_read_back(size: int) -> None:
    """Formatting loses nothing."""
    assert parse_size(format_size(size)) == size
