# SPDX-License-Identifier: Apache-2.0
"""Contract of the guest agent's answers: they are the guest's words, and not trusted."""

from __future__ import annotations

import json

import libvirt_qemu
import pytest

from famlab_vm.agent import Agent
from famlab_vm.errors import AgentError


@pytest.mark.parametrize(
    "answer", ["", "[]", "7", "{}", '{"return": []}', '{"return": {"pid": "1; reboot"}}',
               '{"return": {"pid": true}}', '{"return": {"pid": null}}', "\x1b[2J" * 10000],
)
def test_answer_that_is_none(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """It is an error that shows what came, in short and without control characters."""
    monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", lambda *_: answer)
    with pytest.raises(AgentError, match="host0: the guest agent: found .*; allowed") as caught:
        Agent("host0", None).spawn(["true"])
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process id is returned."""
    monkeypatch.setattr(
        libvirt_qemu, "qemuAgentCommand", lambda *_: json.dumps({"return": {"pid": 42}})
    )
    assert Agent("host0", None).spawn(["true"]) == 42
