# SPDX-License-Identifier: Apache-2.0
"""Starting and killing processes in a guest through the QEMU guest agent, by way of libvirt.

Protocol: QEMU Guest Agent Protocol Reference, guest-exec. Only starting goes this way: the agent
has no event for the end of a process, libvirt drops it for answers over 10 MiB, and moves less
than 1 MiB a second. Data, output and status travel through the exchange directory (command.py).
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Sequence
from typing import Any, Protocol

import libvirt
import libvirt_qemu

from famlab_vm.errors import AgentError

# How long the agent may take for one answer, in seconds; it answers in milliseconds unless stuck.
_ANSWER_TIMEOUT = 60

# Stops each process before its children are listed, so that none can be added meanwhile.
_KILL_TREE = """\
tree() {
    kill -STOP "$1" 2>/dev/null || return 0
    for child in $(pgrep -P "$1"); do tree "$child"; done
    kill -KILL "$1"
}
tree "$1"
"""


class Spawner(Protocol):
    """Something that starts and kills processes in a guest."""

    def spawn(self, args: Sequence[str]) -> int:
        """Start `args` with no input and its output dropped; return its id in the guest."""

    def kill_tree(self, pid: int) -> int:
        """Begin to kill a process in the guest and all its descendants; return the killer's id."""


class Agent:
    """The guest agent of one running guest. Calls may come from several threads."""

    def __init__(self, host: str, domain: Any) -> None:
        self._host = host
        self._domain = domain

    def spawn(self, args: Sequence[str]) -> int:
        """See Spawner. Raises AgentError if the agent refuses or does not answer."""
        message = {"execute": "guest-exec", "arguments": {"path": args[0], "arg": list(args[1:])}}
        try:
            answer = libvirt_qemu.qemuAgentCommand(
                self._domain, json.dumps(message), _ANSWER_TIMEOUT, 0
            )
        except libvirt.libvirtError as error:
            raise AgentError(f"{self._host}: the guest agent: {error}") from error
        # It is the guest that answers.
        try:
            pid = json.loads(answer)["return"]["pid"]
        except (ValueError, KeyError, TypeError):
            pid = None
        if type(pid) is not int:
            found = reprlib.repr(answer)
            raise AgentError(f"{self._host}: the guest agent: found {found}; allowed: a process id")
        return pid

    def kill_tree(self, pid: int) -> int:
        """See Spawner. Raises AgentError."""
        return self.spawn(["sh", "-c", _KILL_TREE, "kill-tree", str(pid)])
