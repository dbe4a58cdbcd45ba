# SPDX-License-Identifier: Apache-2.0
"""Contract: KVM is used only if a guest reached user space with it, and the answer is kept.

QEMU is a script here that acts as a guest on a good or a bad KVM would.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from famlab_vm import accelerator
from famlab_vm.accelerator import choose_accelerator
from famlab_vm.domain import cpu_option
from famlab_vm.paths import Artifacts


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a /dev/kvm that can be opened, an empty cache, and little patience."""
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(accelerator, "_KVM", tmp_path / "kvm")
    monkeypatch.setattr(accelerator, "_PROBE_TIMEOUT", 2.0)
    monkeypatch.setenv("FAMLAB_CACHE", str(tmp_path / "cache"))


def with_qemu(tmp_path: Path, script: str) -> Artifacts:
    """Return artifacts whose QEMU is a shell script."""
    qemu = tmp_path / "qemu"
    qemu.write_text(f"#!/bin/sh\n{script}\n")
    qemu.chmod(0o755)
    return Artifacts(qemu, qemu, qemu, qemu)


def test_guest_reaches_user_space(tmp_path: Path) -> None:
    """The init's first line is the proof; the probe guest is killed."""
    artifacts = with_qemu(tmp_path, "echo '[ 0.1] kernel'; echo 'famlab: init: x'; exec sleep 60")
    kvm, reason = choose_accelerator(artifacts, lambda _text: None)
    assert kvm
    assert "reached user space" in reason


def test_guest_dies(tmp_path: Path) -> None:
    """QEMU's last words are in the reason."""
    kvm, reason = choose_accelerator(
        with_qemu(tmp_path, "echo 'kvm: bad state' >&2; exit 1"), lambda _text: None
    )
    assert not kvm
    assert "kvm: bad state" in reason


def test_guest_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that does nothing is given up, and tried again later: the machine may be busy."""
    gate = tmp_path / "gate"
    artifacts = with_qemu(tmp_path, f"[ -e {gate} ] && echo famlab: init; exec sleep 60")
    kvm, reason = choose_accelerator(artifacts, lambda _text: None)
    assert not kvm
    assert "did nothing" in reason
    gate.touch()
    assert choose_accelerator(artifacts, lambda _text: None) == (kvm, reason)
    monkeypatch.setattr(accelerator, "_DOUBT_LASTS", 0.0)
    assert choose_accelerator(artifacts, lambda _text: None)[0]


def test_probe_has_the_cpu_of_guests(tmp_path: Path) -> None:
    """What boots with another CPU proves nothing."""
    artifacts = with_qemu(tmp_path, f'echo "$*" >{tmp_path}/arguments; echo famlab: init')
    choose_accelerator(artifacts, lambda _text: None)
    assert f"-cpu {cpu_option(kvm=True)} " in (tmp_path / "arguments").read_text()


def test_answer_is_kept_until_something_changes(tmp_path: Path) -> None:
    """A second question starts no guest; another QEMU is asked anew; damage is repaired."""
    said: list[str] = []
    artifacts = with_qemu(tmp_path, "exit 1")
    first = choose_accelerator(artifacts, said.append)
    questions = len(said)
    assert choose_accelerator(artifacts, said.append) == first
    assert len(said) == questions
    for stored in (tmp_path / "cache" / "accelerator").iterdir():
        stored.write_text("{")
    assert choose_accelerator(artifacts, said.append) == first
    assert len(said) == 2 * questions
    assert choose_accelerator(with_qemu(tmp_path, "echo famlab: init"), said.append)[0]


def test_no_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the device nothing is started and the reason says so."""
    monkeypatch.setattr(accelerator, "_KVM", tmp_path / "none")
    kvm, reason = choose_accelerator(with_qemu(tmp_path, "echo famlab: init"), lambda _text: None)
    assert not kvm
    assert "is not there" in reason
