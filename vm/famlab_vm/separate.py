# SPDX-License-Identifier: Apache-2.0
"""Doing something in a child process, so that what it opens is closed for sure afterwards.

libvirt's embedded driver cannot be closed in a living process; a command that only has to start
something in a guest does it in a child, and leaves the lab to others while it waits.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def in_child(work: Callable[[], Result]) -> Result:
    """Return what `work` returns or raise what it raises, after running it in a forked child.

    To be called before this process has started threads or opened libvirt.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(read_end)
            try:
                outcome: tuple[bool, object] = (True, work())
            except BaseException as error:
                outcome = (False, error)
            with os.fdopen(write_end, "wb") as stream:
                pickle.dump(outcome, stream)
            status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    try:
        with os.fdopen(read_end, "rb") as stream:
            data = stream.read()
    finally:
        os.waitpid(child, 0)
    if not data:
        raise ChildProcessError(f"child process {child} died")
    good, value = pickle.loads(data)  # from our own child
    if not good:
        raise value
    return value  # type: ignore[no-any-return]
