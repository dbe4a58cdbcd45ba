# SPDX-License-Identifier: Apache-2.0
"""What the suites stand on: where things are, evidence, leaks, rules for skips, simulated hosts."""

import sys
from pathlib import Path

# pytest loads the plug-in before it reads `pythonpath`, and tests/run is no part of pytest.
sys.path.append(str(Path(__file__).resolve().parents[2] / "vm"))
