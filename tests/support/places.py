# SPDX-License-Identifier: Apache-2.0
"""Where a test has its files."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import paths


@pytest.fixture
def directory() -> Iterator[Path]:
    """The folder of one test; gone afterwards."""
    path = paths.run_directory() / uuid.uuid4().hex[:8]
    path.mkdir()
    yield path
    shutil.rmtree(path)
