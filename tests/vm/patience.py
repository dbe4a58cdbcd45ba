# SPDX-License-Identifier: Apache-2.0
"""By how much every time limit of the suite is longer."""

from __future__ import annotations

import os

# KASAN and lockdep make a kernel some four times slower, and only who starts a run knows what else
# the machine has to do.
_DEBUG = os.environ.get("KERNEL_FLAVOR") == "debug"
PATIENCE = int(os.environ.get("PATIENCE") or (5 if _DEBUG else 1))
