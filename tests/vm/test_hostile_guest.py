# SPDX-License-Identifier: Apache-2.0
"""Contract: root in a guest reaches nothing of this machine but what the guest was given, and does
not keep famlab waiting, whatever it makes of the directory through which it is talked to.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from famlab_vm import process
from famlab_vm.command import MOUNTED
from famlab_vm.errors import CommandFailed, FamlabError, LabStateError, OutputLimit
from support import paths
from vm.host import LabHost
from vm.labs import LabKeeper
from vm.patience import PATIENCE
from vm.shapes import Shape

pytestmark = pytest.mark.of_the_lab

ONE_HOST = Shape(hosts=1)


@pytest.fixture(scope="module")
def guest(keeper: LabKeeper) -> Iterator[LabHost]:
    """The guest of a lab of its own: who trusts it later would be a fool."""
    lab = keeper.start(ONE_HOST)
    yield lab.hosts[0]
    keeper.end(lab)


@pytest.fixture
def victim() -> Iterator[Path]:
    """A directory of this machine that no guest may read or change."""
    directory = paths.run_directory() / "victim"
    (directory / "files").mkdir(parents=True)
    (directory / "secret").write_text("secret")
    (directory / "status").write_text("0\n")
    yield directory
    assert sorted(os.listdir(directory)) == ["files", "secret", "status"]
    assert os.listdir(directory / "files") == []
    assert (directory / "secret").read_text() == "secret"
    for name in ("secret", "status"):
        (directory / name).unlink()
    (directory / "files").rmdir()
    directory.rmdir()


@pytest.fixture
def received() -> Iterator[Path]:
    """Where pulled files go; nothing may be there in the end."""
    path = paths.run_directory() / "received"
    yield path
    assert not path.exists()


def sh(guest: LabHost, script: str, *words: str) -> str:
    return guest.run(["sh", "-c", script, "sh", *words]).text


def test_guest_is_nobody_here(guest: LabHost) -> None:
    """Its QEMU is neither root nor can it become so, and is in a sandbox."""
    pid = guest.guest.pid()
    assert pid is not None
    user, _ = process.user(pid)
    assert user != 0
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    assert set(status["Uid"].split()) == {str(user)}
    assert int(status["CapPrm"], 16) == int(status["CapInh"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_planted_files_are_no_danger_here(guest: LabHost) -> None:
    """A guest makes no device on this machine, and what is set-user-id is so for nobody else."""
    made = sh(
        guest,
        'cd "$1" && cp /usr/bin/busybox suid && chmod 6755 suid && mknod fifo p; '
        "mknod null c 1 3; mknod disk b 254 0; ls",
        MOUNTED,
    )
    assert "suid" in made
    exchange = guest.guest.files.exchange
    for path in exchange.iterdir():
        status = path.lstat()
        assert not stat.S_ISCHR(status.st_mode) and not stat.S_ISBLK(status.st_mode)
        assert status.st_uid != 0
    # Whoever could run the file would be another user: nobody can, on the way there.
    for directory in (exchange, exchange.parent):
        assert directory.stat().st_mode & 0o077 == 0
    sh(guest, 'cd "$1" && rm -f suid fifo null disk', MOUNTED)


STATUS = {
    "FIFO": ('mkfifo "$1"', "found a FIFO"),
    "link": ('ln -s "$2/status" "$1"', "found a link"),
    "directory": ('mkdir "$1"', "found a directory"),
    "text": ('echo "no number" >"$1"', "found b'no number"),
    "endless": ('cat /dev/zero >"$1"', "found b'.x00"),
}
OWN_STATUS = 'set -- "$(dirname "$(readlink /proc/$$/fd/1)")/status" "$1"; '


@pytest.mark.parametrize("what", STATUS)
def test_status_of_a_command_is_not_trusted(guest: LabHost, victim: Path, what: str) -> None:
    """A command that puts something else in the place of its status is told so at once."""
    deed, message = STATUS[what]
    with pytest.raises(LabStateError, match=message):
        sh(guest, f"{OWN_STATUS}{deed}; exec sleep 1000", str(victim))
    sh(guest, "pkill sleep; pkill cat; true")
    assert guest.run(["echo", "alive"]).stdout == b"alive\n"


# Moves the directory of each command away as soon as it is there, and leaves a link in its place.
SWAP = """
cd "$1"
count=0
while [ $count -lt 3 ]; do
    for name in ????????????????????????????????; do
        [ -d "$name" ] && [ ! -L "$name" ] || continue
        mv "$name" "moved-$count" && ln -s "$2" "$name" && count=$((count + 1))
    done
done 2>/dev/null
"""


def test_directories_that_are_replaced_lead_nowhere(guest: LabHost, victim: Path) -> None:
    """Commands and copies fail or succeed while the guest swaps links in; nothing leads out."""
    # Not as a command, whose directory would be the first that is replaced.
    guest.guest.agent().spawn(["sh", "-c", SWAP, "sh", MOUNTED, str(victim)])
    exchange = guest.guest.files.exchange
    attempts = 0
    while len(list(exchange.glob("moved-*"))) < 3:
        attempts += 1
        assert attempts < 20
        with suppress(FamlabError):
            guest.guest.push(paths.REPOSITORY / "daemon", "/root/", timeout=5 * PATIENCE)
    assert sh(guest, 'cd "$1" && rm -rf moved-*; echo alive', MOUNTED) == "alive\n"


def test_output_has_an_end(guest: LabHost) -> None:
    """A command that writes for ever is killed, and its output is gone from this machine."""
    with pytest.raises(OutputLimit, match="more than 8M"):
        guest.guest.commands().run(["cat", "/dev/zero"], most_output=8 << 20, timeout=60 * PATIENCE)
    sh(guest, "while pgrep -x cat; do sleep 0.1; done")
    # A link would be one that the guest has put there, in the test before.
    places = guest.guest.files.exchange.glob("?" * 32)
    assert [place for place in places if not place.is_symlink()] == []


def test_files_have_a_limit(guest: LabHost) -> None:
    """No file here gets larger than this machine allows, also while nobody looks."""
    refused = guest.run(["truncate", "-s", "1T", f"{MOUNTED}/huge"], check=False)
    assert "File too large" in refused.text
    assert (guest.guest.files.exchange / "huge").stat().st_size == 0
    sh(guest, 'rm "$1/huge"', MOUNTED)


def test_special_files_are_not_taken(guest: LabHost, received: Path) -> None:
    """pull of a directory with a FIFO in it is refused with its name, and nothing is taken."""
    sh(guest, "mkdir -p /root/taken && touch /root/taken/a && mkfifo /root/taken/x")
    with pytest.raises(LabStateError, match="host0:/root/taken/x: found a FIFO"):
        guest.guest.pull("/root/taken", received, timeout=60 * PATIENCE)
    sh(guest, "rm /root/taken/x && mknod /root/taken/x c 1 3")
    with pytest.raises((LabStateError, CommandFailed)):
        guest.guest.pull("/root/taken", received, timeout=60 * PATIENCE)
    sh(guest, "rm -r /root/taken")


def test_links_and_rights_are_not_taken(guest: LabHost, victim: Path, received: Path) -> None:
    """A cp that leaves a link gets nothing read here; set-user-id bits stay in the guest."""
    sh(
        guest,
        'printf "#!/bin/sh\\nfor last; do :; done; ln -s $1/secret \\$last\\n" >/usr/local/bin/cp; '
        "chmod 755 /usr/local/bin/cp; touch /root/tool; chmod 6755 /root/tool",
        str(victim),
    )
    try:
        with pytest.raises(LabStateError, match="host0:/root/tool: found a link"):
            guest.guest.pull("/root/tool", received, timeout=60 * PATIENCE)
    finally:
        sh(guest, "rm /usr/local/bin/cp")
    guest.guest.pull("/root/tool", received, timeout=60 * PATIENCE)
    assert received.stat().st_mode & 0o7777 == 0o755
    received.unlink()


def test_lab_is_removed_whatever_is_in_it(keeper: LabKeeper, victim: Path) -> None:
    """Links, closed directories and many levels (vm/tests has more of them) do not stop `down`."""
    lab = keeper.start(ONE_HOST)
    try:
        sh(
            lab.hosts[0],
            'cd "$1" && ln -s "$2" link && mkdir -p closed/a && ln -s "$2" closed/a && '
            "chmod 000 closed/a closed && mkfifo fifo && "
            'mkdir -p "$(printf "d/%.0s" $(seq 100))"',
            MOUNTED, str(victim),
        )  # fmt: skip
    finally:
        keeper.end(lab)
    assert not lab.lab.directory.exists()
