# SPDX-License-Identifier: Apache-2.0
"""The skip rule: a test may be skipped only for a feature that is missing, and the skip names it.

In CI the feature must be on the allow list as well: there everything that must run does run.
"""

from __future__ import annotations

import os
import re
from typing import NoReturn

import pytest

from support.paths import TESTS

ALLOW_LIST = TESTS / "allowed-skips.txt"
_PREFIX = "missing feature: "
_REASON = re.compile(r"missing feature: (?P<feature>[a-z0-9][a-z0-9 ._-]*): \S")


def missing_feature(name: str, why: str) -> NoReturn:
    """Skips the calling test; `name` is a short lower-case one, `why` what was looked for."""
    pytest.skip(f"{_PREFIX}{name}: {why}")


def allowed_in_ci() -> frozenset[str]:
    lines = ALLOW_LIST.read_text().splitlines()
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def feature(reason: str) -> str:
    """The missing feature that a skip names; empty if it names none."""
    match = _REASON.match(reason.removeprefix("Skipped: "))
    return match["feature"].strip() if match else ""


def objection(reason: str) -> str | None:
    """Why a skip with this reason is not accepted, or None if it is."""
    reason = reason.removeprefix("Skipped: ")
    missing = feature(reason)
    if not missing:
        return (
            f"skipped without naming a missing feature (reason: {reason!r}); "
            "use support.skips.missing_feature(feature, why)"
        )
    if os.environ.get("CI") == "true" and missing not in allowed_in_ci():
        return (
            f"skipped for the missing feature {missing!r}, which must be there in CI; "
            f"{ALLOW_LIST.name} lists what may be missing"
        )
    return None
