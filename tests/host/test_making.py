# SPDX-License-Identifier: Apache-2.0
"""Contract: many files in one command are made in order and told to other hosts together, a copy
that was cut short is completed by repeating it, and defaults for new files come from the mount.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from famfs_verbs import MEBI, MKFS_USAGE, Famfs, random_bytes
from host.cluster import DEVICE_SIZE, Cluster
from support import media
from support.machine import Outcome


@pytest.fixture
def backend() -> str:
    return "plain"  # how files are made does not depend on what maps the memory


def source_tree(directory: Path, count: int) -> Path:
    source = directory / "source"
    (source / "sub").mkdir(parents=True)
    for index in range(count):
        (source / ("sub" if index % 2 else ".") / f"f{index}").write_bytes(b"%d" % index)
    return source


def test_many_files_need_few_announcements(master: Famfs, client: Famfs, directory: Path) -> None:
    """400 files in two directories are there on both hosts after a few appends to the log."""
    source = source_tree(directory, 400)
    before = looks_at_the_log(master)
    master.famfs("cp", "-r", str(source), master.path())
    # An append takes a handful of looks at the header, and some come by the clock.
    assert looks_at_the_log(master) - before < 400
    assert len(client.tree()) == 402
    assert client.read("source/sub/f399") == b"399"
    client.fsck()


def looks_at_the_log(famfs: Famfs) -> int:
    """How often the daemon has read the log's header."""
    run_dir = os.getxattr(famfs.mount_point, "user.famfs.shadow").decode()
    words = ["curl", "-s", "--unix-socket", f"{run_dir}/sock", "http://localhost/status"]
    status: dict[str, dict[str, int]] = json.loads(famfs.run(*words).stdout)
    return status["log"]["header_checks"]


def test_more_files_than_descriptors(master: Famfs, client: Famfs, directory: Path) -> None:
    """A copy of many files does not hold them all open."""
    source = source_tree(directory, 100)
    master.run("sh", "-c", 'ulimit -n 30; exec famfs cp -r "$1" "$2"', "sh", str(source),
               master.path())  # fmt: skip
    assert client.read("source/f98") == b"98"


def test_multi_makes_what_it_can(master: Famfs, client: Famfs) -> None:
    """creat --multi: each failure is told, the others are made, and doing it again is no error."""
    names = ["a", "b", "no/such", "c", "a" * 80, "d"]
    arguments = [word for name in names for word in ("--multi", f"{master.path(name)},4096,7")]
    outcome = master.famfs("creat", *arguments, check=False)
    assert outcome.returncode == errno.ENOENT  # of the first that failed
    assert "no: No such file" in outcome.text and "80" in outcome.text
    assert sorted(client.tree()) == ["a", "b", "c", "d"]
    good = [word for name in "abcd" for word in ("--multi", f"{master.path(name)},4096,7")]
    again = master.famfs("creat", "-v", *good)
    assert again.text.count("exists") == 4
    for name in "abcd":
        client.famfs("verify", "--seed", "7", "--filename", client.path(name))


def test_interrupted_copy_is_completed_by_repeating_it(
    master: Famfs, client: Famfs, directory: Path
) -> None:
    """After a copy was killed, the same command brings the rest, and says what it did."""
    source = source_tree(directory, 20)
    big = random_bytes(3 * MEBI, seed=1)
    (source / "big").write_bytes(big)
    master.mkdir("source")
    master.creat("source/big", len(big))  # made, its bytes never arrived
    master.creat("source/f2", 1)
    assert client.read("source/big") != big
    outcome = master.famfs("cp", "-r", "--compare", str(source), master.path())
    assert "2 existed" in outcome.text
    assert client.read("source/big") == big
    assert client.read("source/f2") == b"2"
    assert len(client.tree()) == 23


@pytest.fixture
def restless(directory: Path) -> Iterator[Path]:
    """A file whose bytes change all the time: who reads it twice finds two things."""
    path = directory / "restless"
    path.write_bytes(bytes(4 * MEBI))
    change = (
        "import os, sys\n"
        "fd = os.open(sys.argv[1], os.O_WRONLY)\n"
        "while True:\n"
        "    for value in range(256):\n"
        "        os.pwrite(fd, bytes([value]) * (4 << 20), 0)\n"
    )
    writer = subprocess.Popen(["/usr/bin/python3", "-c", change, path])
    try:
        yield path
    finally:
        writer.kill()
        writer.wait()


def test_what_is_not_alike_is_told(master: Famfs, restless: Path) -> None:
    """`cp --compare` and `chkread` look at the bytes: 84 (EILSEQ), and where they differ."""
    until_told(lambda: master.famfs("cp", "--compare", str(restless), master.path("copy"),
                                    check=False), "differ")  # fmt: skip
    until_told(lambda: master.famfs("chkread", str(restless), check=False), "differs")


def until_told(look: Callable[[], Outcome], word: str) -> None:
    """Looks until the file has changed between two reads, which is up to the scheduler."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        outcome = look()
        assert outcome.returncode in {0, 84}
        if outcome.returncode == 84:
            assert word in outcome.text
            return
    pytest.fail(f"in 60 s no look at a file that changes all the time told {word!r}")


def test_killed_copy_leaves_a_clean_file_system(
    master: Famfs, client: Famfs, directory: Path
) -> None:
    """SIGKILL in the middle of a copy: fsck is clean, and the same command completes it."""
    content = random_bytes(64 * MEBI, seed=2)
    (directory / "big").write_bytes(content)
    environment = {**os.environ, **_environment(master)}
    binary = _which(master, "famfs")
    command = [binary, "cp", str(directory / "big"), master.path("big")]
    with subprocess.Popen(command, env=environment) as process:
        while not client.exists("big"):
            assert process.poll() is None or process.returncode == 0
        process.kill()
    client.fsck()
    master.famfs("cp", str(directory / "big"), master.path("big"))
    assert client.read("big") == content


def _environment(host: Famfs) -> dict[str, str]:
    text = host.run("env", "-0").stdout.decode()
    return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)


def _which(host: Famfs, program: str) -> str:
    return host.run("sh", "-c", 'command -v "$1"', "sh", program).stdout.decode().strip()


CONFIG = b"interleaved_alloc: {nbuckets: 4, nstrips: 3, chunk_size: 2m}\n"


def test_defaults_for_new_files_come_from_the_mount(
    master: Famfs, client: Famfs, memory: Path
) -> None:
    """.meta/.alloc.cfg interleaves new files; options go first; what is wrong there is told."""
    master.mkdir(".meta")
    master.put(".meta/.alloc.cfg", CONFIG.ljust(4096, b"\0"))
    master.creat("striped", 12 * MEBI)
    master.creat("two", 12 * MEBI, "--nstrips", "2")
    master.creat("plain", 12 * MEBI, "--nstrips", "0")
    with media.medium(memory) as medium:
        assert medium.entry(medium.find("striped"), "nstrips") == 3
        assert medium.entry(medium.find("two"), "nstrips") == 2
        assert medium.entry(medium.find("plain"), "ext_type") == media.SIMPLE
    content = random_bytes(7 * MEBI, seed=5)
    master.put("copied", content)
    assert client.read("copied") == content
    with media.medium(memory) as medium:
        assert medium.entry(medium.find("copied"), "ext_type") == media.INTERLEAVED
    # Another host changes them, in place.
    client.overwrite(".meta/.alloc.cfg", 0, b"interleaved_alloc: {nstrips: 99}\n" + bytes(100))
    refused = master.creat("more", MEBI, check=False)
    assert refused.returncode == errno.EINVAL
    assert ".alloc.cfg" in refused.text and "99" in refused.text
    master.creat("more", MEBI, "--nstrips", "0")


def test_space_in_pieces_takes_a_large_file(master: Famfs, client: Famfs, memory: Path) -> None:
    """A file that no single run holds lies in several, and reads the same on both hosts."""
    total = DEVICE_SIZE - media.LOG_OFFSET - media.DEFAULT_LOG_LENGTH
    # Four strips, each at the start of its quarter of the device, leave four runs.
    master.creat("striped", 4 * 512 * MEBI, "--nstrips", "4", "--nbuckets", "4")
    rest = total - 4 * 512 * MEBI
    assert master.creat("too much", rest + MEBI, check=False).returncode == errno.ENOSPC
    master.creat("pieces", rest)
    with media.medium(memory) as medium:
        index = medium.find("pieces")
        count = medium.entry(index, "nextents")
        assert isinstance(count, int) and 1 < count <= 16
        first = medium.entry(index, "extent.len")
        assert isinstance(first, int)
    for offset in (0, first - 3, rest - 7):
        content = random_bytes(7, seed=offset)
        master.overwrite("pieces", offset, content)
        assert client.read("pieces", offset, 7) == content
    client.fsck()


def test_small_allocation_units(hosts: Cluster, memory: Path) -> None:
    """--alloc-unit 4k: 40 small files take little space, and read the same on both hosts."""
    hosts.master.mkfs("--alloc-unit", "4k")
    hosts.mount_all()
    with media.medium(memory) as medium:
        assert medium.superblock("alloc_unit") == 4096
    contents = {f"f{i}": random_bytes(1 + 37 * i, seed=i) for i in range(40)}
    for name, content in contents.items():
        hosts.master.put(name, content)
    for name, content in contents.items():
        assert hosts.client.read(name) == content
    used = os.statvfs(hosts.client.mount_point)
    assert (used.f_blocks - used.f_bfree) * used.f_frsize < 12 * MEBI
    hosts.client.fsck()


def test_allocation_unit_is_one_of_two(hosts: Cluster, memory: Path) -> None:
    """Any other is refused, and the message names those that may be; nothing is written."""
    refused = hosts.master.mkfs("--alloc-unit", "64k", check=False)
    assert refused.returncode == MKFS_USAGE
    assert "65536" in refused.text and "4096" in refused.text
    assert "magic is 0x0" in hosts.master.fsck(check=False).text


def test_check_and_chkread(master: Famfs, client: Famfs, directory: Path) -> None:
    """check finds a map for every file; chkread compares the two ways to the bytes of one."""
    master.put("file", random_bytes(3 * MEBI + 5, seed=3))
    assert "1 files, 0 of them" in client.famfs("check", client.mount_point).text
    master.mkdir("covered")
    (directory / "no map").mkdir()
    (directory / "no map" / "plain").write_bytes(b"x")
    master.run("mount", "--bind", str(directory / "no map"), master.path("covered"))
    try:
        found = master.famfs("check", master.mount_point, check=False)
    finally:
        master.run("umount", master.path("covered"))
    assert found.returncode == 1 and "2 files, 1 of them" in found.text
    assert f"{master.path('covered/plain')}" in found.text
    assert client.famfs("check", str(directory), check=False).returncode == errno.EINVAL
    client.famfs("chkread", client.path("file"))
    refused = client.famfs("chkread", "--superblock", client.path("file"), check=False)
    assert refused.returncode == 117 and "magic" in refused.text


def test_clone_is_refused(master: Famfs) -> None:
    """Two files on the same bytes are damage: the command says so and changes nothing."""
    master.put("file", b"content")
    refused = master.famfs("clone", master.path("file"), master.path("other"), check=False)
    assert refused.returncode == errno.EOPNOTSUPP
    assert not master.exists("other")
    master.fsck()


def test_queue_between_hosts(master: Famfs, client: Famfs) -> None:
    """pcq: 300 messages through a queue of 8 go from the master to the client, checked."""
    queue = "queue"
    master.run("pcq", "--create", "--bsize", "200", "--nbuckets", "8", master.path(queue))
    words = ["pcq", "-c", "-N", "300", "-S", "5", "-t", "50", client.path(queue)]
    with subprocess.Popen(
        [_which(client, words[0]), *words[1:]], env=_environment(client), stdout=subprocess.PIPE
    ) as consumer:
        master.run("pcq", "-p", "-N", "300", "-S", "5", "-t", "50", master.path(queue))
        output = consumer.communicate(timeout=60)[0].decode()
        assert consumer.returncode == 0, output
    assert "consumed 300 messages" in output
    assert "next message 300" in client.run("pcq", "--info", client.path(queue)).text
    assert "consumed 0 messages" in client.run("pcq", "--drain", client.path(queue)).text
    master.run("pcq", "-p", "-N", "3", "-S", "6", master.path(queue))
    wrong = client.run("pcq", "--drain", "-S", "5", client.path(queue), check=False)
    assert wrong.returncode == 84
    client.run("pcq", "--setperm", "n", client.path(queue))
    assert os.stat(client.path(queue)).st_mode & 0o777 == 0o444
