# SPDX-License-Identifier: Apache-2.0
"""The tests' own programs in guests: compiled from tests/guest by `make guest-tests`, seen by every
guest through the share.
"""

from __future__ import annotations

from support import paths
from support.verdict import CannotJudge

_ON_HOST = paths.BUILD / "guest" / "tests"
_IN_GUEST = "/opt/famlab/tests"


def program(name: str) -> str:
    """The path of a program of tests/guest as guests see it."""
    if not (_ON_HOST / name).exists():
        raise CannotJudge(f"{_ON_HOST / name} is not there; run `make guest-tests`")
    return f"{_IN_GUEST}/{name}"
