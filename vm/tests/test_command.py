# SPDX-License-Identifier: Apache-2.0
"""Contract of commands in guests: streams, status, time limit, and what the guest's end means.

The guest is a process of this machine here: the same script runs, started by the same arguments.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from famlab_vm import command, transfer
from famlab_vm.command import CommandRunner
from famlab_vm.domain import GuestFiles
from famlab_vm.errors import CommandFailed, CommandTimeout, LabStateError, OutputLimit
from famlab_vm.transfer import Owner
from lab_support import Fake


class LocalSpawner:
    """Starts the commands of a "guest" on this machine."""

    def __init__(self) -> None:
        self.children: list[subprocess.Popen[bytes]] = []

    def spawn(self, args: Sequence[str]) -> int:
        """See Spawner."""
        child = subprocess.Popen(list(args), start_new_session=True)
        self.children.append(child)
        return child.pid

    def kill_tree(self, pid: int) -> int:
        """See Spawner."""
        os.killpg(pid, signal.SIGKILL)
        return 0


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GuestFiles:
    """The files of a host whose exchange directory is mounted where it is."""
    files = GuestFiles(tmp_path / "host0")
    files.exchange.mkdir(parents=True)
    files.console_log.touch()
    monkeypatch.setattr(command, "MOUNTED", str(files.exchange))
    return files


@pytest.fixture
def spawner() -> Iterator[LocalSpawner]:
    """A spawner whose children are collected at the end."""
    spawner = LocalSpawner()
    yield spawner
    for child in spawner.children:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


@pytest.fixture
def runner(files: GuestFiles, spawner: LocalSpawner, guest_process: Fake) -> CommandRunner:
    """What runs commands in a guest that is alive."""
    guest_process(files.directory)
    return CommandRunner("host0", files, spawner)


def test_streams_and_status(runner: CommandRunner, files: GuestFiles) -> None:
    """Input, output, error output and status are the command's; nothing is left behind."""
    result = runner.run(["sh", "-c", "cat; echo bad >&2; exit 7"], stdin=b"in\0put")
    assert (result.returncode, result.stdout, result.stderr) == (7, b"in\0put", b"bad\n")
    assert list(files.exchange.iterdir()) == []


def test_arguments_are_not_interpreted(runner: CommandRunner) -> None:
    """Spaces, quotes and shell characters in arguments arrive as they are."""
    words = ["a b", "'", '"', "$HOME", "*", "", "\n"]
    assert runner.run(["printf", "%s|", *words]).stdout == "".join(f"{w}|" for w in words).encode()


def test_large_output_is_complete(runner: CommandRunner) -> None:
    """Output has no limit of the agent's kind."""
    result = runner.run(["head", "-c", str(30 << 20), "/dev/zero"])
    assert len(result.stdout) == 30 << 20


def test_no_input_is_empty_input(runner: CommandRunner) -> None:
    """A command that reads without being given input sees the end at once."""
    assert runner.run(["cat"], timeout=30).stdout == b""


def test_input_from_a_stream(runner: CommandRunner) -> None:
    """Input may be a file object."""
    assert runner.run(["wc", "-c"], stdin=io.BytesIO(b"x" * 5000000)).text == "5000000"


def test_output_arrives_while_the_command_runs(runner: CommandRunner, tmp_path: Path) -> None:
    """The sink gets output before the end; here the command ends only once it did."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def sink(stream: str, data: bytes) -> None:
        assert (stream, data) == ("out", b"first\n")
        threading.Thread(target=gate.write_text, args=("go",), daemon=True).start()

    script = f"echo first; read word <{gate}; exit 3"
    result = runner.run(["sh", "-c", script], sink=sink, timeout=60)
    assert (result.returncode, result.stdout) == (3, b"")


def test_command_not_found(runner: CommandRunner) -> None:
    """A missing command is status 127, as in a shell."""
    result = runner.run(["no-such-command"])
    assert result.returncode == 127
    assert b"no-such-command" in result.stderr


def test_death_by_signal(runner: CommandRunner) -> None:
    """Death by a signal is 128 plus its number, as in a shell."""
    assert runner.run(["sh", "-c", "kill -TERM $$"]).returncode == 128 + signal.SIGTERM


def test_check(runner: CommandRunner) -> None:
    """With check a bad status raises, with the command, the status and its words."""
    with pytest.raises(CommandFailed, match=r"host0: sh .* status 4\nwords") as caught:
        runner.run(["sh", "-c", "echo words >&2; exit 4"], check=True)
    assert caught.value.returncode == 4


def test_time_limit(runner: CommandRunner, spawner: LocalSpawner, files: GuestFiles) -> None:
    """At the time limit the command is killed, and its files are removed."""
    with pytest.raises(CommandTimeout, match="host0"):
        runner.run(["sleep", "1000"], timeout=0.1)
    assert spawner.children[0].wait(10) == -signal.SIGKILL
    assert list(files.exchange.iterdir()) == []


def test_no_guest(files: GuestFiles, spawner: LocalSpawner) -> None:
    """Without a guest the message says how to start it, and nothing is started."""
    with pytest.raises(LabStateError, match="`famlab restart --name .* host0` starts it"):
        CommandRunner("host0", files, spawner).run(["true"])
    assert spawner.children == []


def test_guest_is_killed_meanwhile(
    files: GuestFiles, spawner: LocalSpawner, guest_process: Fake
) -> None:
    """When the guest's QEMU ends, the wait for a command ends too."""
    guest = guest_process(files.directory)
    runner = CommandRunner("host0", files, spawner)
    with pytest.raises(LabStateError, match="killed while"):
        runner.run(["sh", "-c", "echo; sleep 1000"], sink=lambda *_: guest.kill())


def test_guest_panics_meanwhile(runner: CommandRunner, files: GuestFiles) -> None:
    """A panic on the console, even written in pieces, ends the wait for a command."""

    def panic(_stream: str, _data: bytes) -> None:
        with files.console_log.open("a", buffering=1) as console:
            console.write("[ 1.0] Kernel panic - not ")
            console.flush()
            console.write("syncing: test\n")

    with pytest.raises(LabStateError, match="panicked while"):
        runner.run(["sh", "-c", "echo; sleep 1000"], sink=panic)


def test_push_and_pull(runner: CommandRunner, tmp_path: Path) -> None:
    """Files keep content and permission bits; a directory as target keeps the name."""
    source = tmp_path / "tool"
    source.write_bytes(os.urandom(100000))
    source.chmod(0o751)
    guest = tmp_path / "guest"
    guest.mkdir()
    runner.push(source, str(guest))
    assert (guest / "tool").stat().st_mode & 0o777 == 0o751
    back = tmp_path / "back"
    runner.pull(str(guest / "tool"), back)
    assert back.read_bytes() == source.read_bytes()
    assert back.stat().st_mode & 0o777 == 0o751
    directory = tmp_path / "directory"
    directory.mkdir()
    runner.pull(str(guest / "tool"), directory)
    assert (directory / "tool").read_bytes() == source.read_bytes()


def test_push_and_pull_directories(runner: CommandRunner, tmp_path: Path) -> None:
    """Directories are copied whole."""
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below" / "file").write_text("content")
    runner.push(tree, str(tmp_path / "in-guest"))
    runner.pull(str(tmp_path / "in-guest"), tmp_path / "back")
    assert (tmp_path / "back" / "below" / "file").read_text() == "content"


def test_pull_of_nothing(runner: CommandRunner, tmp_path: Path) -> None:
    """A missing file fails with the guest's words, and leaves nothing here."""
    with pytest.raises(CommandFailed, match="No such file"):
        runner.pull("/no/such/file", tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("name", ["in", "out", "err", "status", "data", "files"])
def test_pushed_names_are_free(runner: CommandRunner, tmp_path: Path, name: str) -> None:
    """A file or directory may have any name, also those that commands use in the exchange."""
    guest = tmp_path / "guest"
    guest.mkdir()
    (tmp_path / "a" / name).mkdir(parents=True)
    (tmp_path / "a" / name / "file").write_text("content")
    runner.push(tmp_path / "a" / name, str(guest))
    assert (guest / name / "file").read_text() == "content"
    # A link is copied as what it leads to, under its own name.
    (tmp_path / "link").symlink_to(tmp_path / "a" / name / "file")
    runner.push(tmp_path / "link", str(guest))
    assert (guest / "link").read_text() == "content"
    assert not (guest / "link").is_symlink()


@pytest.mark.parametrize("place", ["", "below/x"])
def test_links_of_a_guest_are_not_followed(
    runner: CommandRunner, files: GuestFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    """A guest that leaves a link instead of a copy gets no file of this machine read or written."""
    secret = tmp_path / "secret"
    secret.write_text("secret")

    def evil(args: Sequence[str], **_: object) -> None:
        link = Path(args[-1]) / place
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(secret)

    monkeypatch.setattr(runner, "run", evil)
    with pytest.raises(LabStateError, match="host0:/etc/hostname.*: found a link"):
        runner.pull("/etc/hostname", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert list(files.exchange.iterdir()) == []


def test_what_is_pulled_is_out_of_the_guest_s_reach(
    runner: CommandRunner, files: GuestFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be changed between a look at it and the copy."""
    reachable: list[str] = []

    def look(*_: object) -> None:
        reachable.extend(os.listdir(files.exchange))

    monkeypatch.setattr(command, "copy_out", look)
    runner.pull("/etc/hostname", Path("nowhere"))
    assert reachable == []


class EvilGuest:
    """A spawner that starts nothing and does this to the directory of the command instead."""

    def __init__(self, files: GuestFiles, deed: Callable[[Path], object]) -> None:
        self._files = files
        self._deed = deed

    def spawn(self, args: Sequence[str]) -> int:
        """See Spawner."""
        self._deed(self._files.exchange / args[5])
        return 1

    def kill_tree(self, pid: int) -> int:
        """See Spawner."""
        return pid


BAD_STATUS: dict[str, tuple[Callable[[Path], object], str]] = {
    "FIFO": (os.mkfifo, "found a FIFO"),
    "directory": (os.mkdir, "found a directory"),
    "link": (lambda path: path.symlink_to("in"), "found a link"),
    "text": (lambda path: path.write_text("abc\n"), r"found b'abc\\n'; allowed: a number to 255"),
    "sign": (lambda path: path.write_text("-1\n"), "found b'-1"),
    "number": (lambda path: path.write_text("256\n"), "found b'256"),
    "long": (lambda path: path.write_bytes(b"0" * 5000), "found b'0000"),
    "huge": (lambda path: path.open("w").truncate(1 << 40), "found b'.x00"),
    "terminal": (lambda path: path.write_text("\x1b[2J\n"), r"found b'\\x1b\[2J"),
}


@pytest.mark.parametrize("what", BAD_STATUS)
def test_status_that_is_none(
    files: GuestFiles, guest_process: Fake, what: str
) -> None:
    """Whatever a guest gives as status, it is not waited for, and the error says what it was."""
    deed, message = BAD_STATUS[what]
    guest_process(files.directory)
    runner = CommandRunner("host0", files, EvilGuest(files, lambda job: deed(job / "status")))
    with pytest.raises(LabStateError, match=message):
        runner.run(["true"], timeout=30)
    assert list(files.exchange.iterdir()) == []


@pytest.mark.parametrize("text", ["", "1", "12"])
def test_status_in_pieces(files: GuestFiles, guest_process: Fake, text: str) -> None:
    """The first part of a status is none yet."""
    guest_process(files.directory)

    def write(job: Path) -> None:
        (job / "status").write_text(text)
        threading.Timer(0.2, (job / "status").write_text, args=("123\n",)).start()

    assert CommandRunner("host0", files, EvilGuest(files, write)).run(["true"]).returncode == 123


def test_output_without_end(
    runner: CommandRunner, spawner: LocalSpawner, files: GuestFiles
) -> None:
    """Beyond the limit the command is killed; no more is given than was allowed."""
    given = []
    with pytest.raises(OutputLimit, match="more than 3M and was killed"):
        runner.run(
            ["yes"], sink=lambda _, data: given.append(len(data)), most_output=3 << 20, timeout=60
        )
    assert sum(given) == (3 << 20) + 1
    assert spawner.children[0].wait(10) == -signal.SIGKILL
    assert list(files.exchange.iterdir()) == []


def test_output_that_is_only_claimed(files: GuestFiles, guest_process: Fake) -> None:
    """A sparse file of any size is no more than the limit."""
    guest_process(files.directory)
    runner = CommandRunner(
        "host0", files, EvilGuest(files, lambda job: os.truncate(job / "out", 1 << 40))
    )
    with pytest.raises(OutputLimit):
        runner.run(["true"], most_output=1 << 20, timeout=30)


@pytest.mark.parametrize("instead", ["link", "file", "nothing"])
def test_directory_of_a_command_is_replaced(
    files: GuestFiles, guest_process: Fake, tmp_path: Path, instead: str
) -> None:
    """Nothing is written or removed where the guest's link leads; the time limit holds."""
    victim = tmp_path / "victim"
    (victim / "files").mkdir(parents=True)
    (victim / "status").write_text("0\n")
    guest_process(files.directory)

    def swap(job: Path) -> None:
        job.rename(job.with_name("moved"))
        if instead == "link":
            job.symlink_to(victim)
        elif instead == "file":
            job.touch()

    runner = CommandRunner("host0", files, EvilGuest(files, swap))
    with pytest.raises(CommandTimeout):
        runner.run(["true"], timeout=0.2)
    assert sorted(os.listdir(victim)) == ["files", "status"]
    assert os.listdir(files.exchange) == ["moved"]
    assert sorted(os.listdir(files.directory)) == ["console.log", "exchange"]


@pytest.mark.parametrize("moment", ["in", "files"])
def test_directory_is_replaced_before_it_is_filled(
    files: GuestFiles, guest_process: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    """Input and pushed files go to the directory that was made, not to where a link leads now."""
    victim = tmp_path / "victim"
    (victim / "files").mkdir(parents=True)
    source = tmp_path / "source"
    source.write_text("content")
    guest_process(files.directory)
    make = transfer.make_directory

    def make_and_swap(name: str, directory: int, owner: Owner) -> int:
        made = make(name, directory, owner)
        if name == "files" and not (files.exchange / "moved").exists():
            [job] = files.exchange.iterdir()
            job.rename(job.with_name("moved"))
            job.symlink_to(victim)
        return made

    monkeypatch.setattr(command, "make_directory", make_and_swap)
    runner = CommandRunner("host0", files, EvilGuest(files, lambda _job: None))
    with pytest.raises(CommandTimeout):
        if moment == "in":
            runner.run(["true"], stdin=b"input", timeout=0.1)
        else:
            runner.push(source, "/target", timeout=0.1)
    assert [path.name for path in victim.rglob("*")] == ["files"]
    name, content = ("in", "input") if moment == "in" else ("files/source", "content")
    assert (files.exchange / "moved" / name).read_text() == content
