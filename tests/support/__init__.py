# SPDX-License-Identifier: Apache-2.0
"""What every suite stands on: evidence, leak check, skip rule, log scan.

Nothing in this package knows famfs or the lab; `famfs_verbs.py` and the suites' conftest.py do.
"""
