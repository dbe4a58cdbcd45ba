# SPDX-License-Identifier: Apache-2.0
"""Whether a run is of all tests or of a choice of them (support/pairwise.py)."""

from __future__ import annotations

import os

import pytest


def of_all(config: pytest.Config) -> bool:
    """FULL=1 asks for all; and who names tests means all of these."""
    named = config.option.keyword or any("::" in word for word in config.args)
    return os.environ.get("FULL") == "1" or bool(named)
