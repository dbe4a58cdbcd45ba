# SPDX-License-Identifier: Apache-2.0
"""Contract: guests are never root, and are told before they start what they cannot read."""

from __future__ import annotations

import os
import pwd
import resource
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from famlab_vm import limits, process
from famlab_vm.account import check_share, guest_user, qemu_arguments
from famlab_vm.errors import PrerequisiteMissing
from famlab_vm.limits import limit_files
from lab_support import Fake, a_state


def test_guests_of_root_are_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user has to exist; guests of others are their own."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    known = {"libvirt-qemu": pwd.struct_passwd(("libvirt-qemu", "x", 7, 7, "", "/", "/bin/false"))}
    monkeypatch.setattr(pwd, "getpwnam", known.__getitem__)
    assert guest_user() == "libvirt-qemu"
    known.clear()
    with pytest.raises(PrerequisiteMissing, match="libvirt-qemu .*setup/host-packages.sh vm"):
        guest_user()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert guest_user() == ""


def test_qemu_is_told(run_directory: Path) -> None:
    """With the user comes a sandbox, as libvirt's would not let QEMU become that user."""
    assert run_directory
    state = a_state("mine")
    assert "-run-with" not in state.guest("host0").qemu_arguments
    words = replace(state, user="libvirt-qemu").guest("host0").qemu_arguments
    assert words[words.index("-run-with") + 1] == "user=libvirt-qemu"
    assert words[words.index("-sandbox") + 1].startswith("on,")
    assert qemu_arguments("") == []


@pytest.mark.parametrize(
    ("place", "mode"), [("", 0o750), ("bin", 0o701), ("bin", 0o704), ("bin/tool", 0o750)]
)
def test_share_that_guests_cannot_read(tmp_path: Path, place: str, mode: int) -> None:
    """The first such file is named, with what helps; it does help."""
    share = tmp_path / "share"
    (share / "bin").mkdir(parents=True)
    (share / "bin" / "tool").touch(0o755)
    (share / "bin" / "link").symlink_to("nowhere")
    check_share(share, "libvirt-qemu")
    (share / place).chmod(mode)
    check_share(share, "")
    with pytest.raises(PrerequisiteMissing, match=f"^{share / place}: may not .*chmod") as caught:
        check_share(share, "libvirt-qemu")
    subprocess.run(str(caught.value).split("`")[1], shell=True, check=True)
    check_share(share, "libvirt-qemu")


@pytest.fixture
def guest(tmp_path: Path, guest_process: Fake) -> int:
    """A process that is a guest's."""
    (tmp_path / "host0").mkdir()
    return guest_process(tmp_path / "host0").pid


def _file_limit(pid: int) -> str:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith("Max file size")).split()[3]


def test_files_of_a_guest_are_limited(
    tmp_path: Path, guest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To what may be added to the console log, or to half of what is free; others are not."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit_files(tmp_path / "host0", 77)
    assert int(_file_limit(guest)) == 77 + (1 << 30)
    monkeypatch.setattr(limits, "free_bytes", lambda _path: 1 << 20)
    limit_files(tmp_path / "host0", 0)
    assert int(_file_limit(guest)) == 1 << 19
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == unlimited
    (tmp_path / "no-guest").mkdir()
    limit_files(tmp_path / "no-guest", 0)


def test_user_of_a_process(guest: int) -> None:
    """It is known by number; a process that is gone is an error."""
    assert process.user(guest) == (os.geteuid(), os.getegid())
    child = subprocess.Popen(["true"])
    child.wait()
    with pytest.raises(ProcessLookupError):
        process.user(child.pid)
