# SPDX-License-Identifier: Apache-2.0
"""The tests' own programs in guests: compiled from tests/guest by `make guest-tests`, seen by every
guest through the share.
"""

from __future__ import annotations

import pytest

from support import paths

_ON_HOST = paths.BUILD / "guest" / "tests"
_IN_GUEST = "/opt/famlab/tests"


def program(name: str) -> str:
    """The path of a program of tests/guest as guests see it."""
    if not (_ON_HOST / name).exists():
        pytest.fail(f"{_ON_HOST / name} is not there; run `make guest-tests`", pytrace=False)
    return f"{_IN_GUEST}/{name}"
